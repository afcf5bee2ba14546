// Package servertest gives tests a real PostgreSQL and a real Redis. All tests of a
// test binary share one server of each kind, and each test gets a database of its
// own. The package also has what every test with servers needs: a logger, a folder,
// a condition to wait for.
//
// Two packages below this one start servers that only one test uses: postgrestest and redistest.
// Package certtest issues certificates, and package disktest mounts small disks.
//
// Package servertest is for tests only. Its databases are empty: package schematest adds outboxd's
// schema. Package faulttest simulates faults between a client and its server.
package servertest
