package plan

// Recorded returns costs that were measured once, on the machine that Source names. The
// recorded costs are for a first look: the costs on another machine differ.
func Recorded() Measured {
	return Measured{
		Source: "recorded on 2 cores of a shared x86-64 virtual machine, PostgreSQL 15.18, Redis 7.0.15",
		Lines: Lines{
			ProducePostgres: {221.7, 0.003438},
			RelayPostgres:   {22.34, 0.006562},
			HandlePostgres:  {268, 0},
			RelayProcess:    {11.67, 0.004739},
			WorkerProcess:   {312.5, 0},
			RelayRedis:      {8.23, 0.004444},
			HandleRedis:     {98.68, 0},
			WAL:             {1141, 1.978},
			Flushes:         {0.5955, 1.069e-05},
			Rows:            {4, 0},
			Kept:            {166.1, 1.14},
			Waiting:         {563.8, 1.131},
			NetworkPostgres: {687.9, 1.999},
			NetworkRedis:    {1072, 2.001},
		},
	}
}
