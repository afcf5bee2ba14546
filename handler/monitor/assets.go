package monitor

import _ "embed"

// The style and the script that outboxd adds to Asynqmon's page.
var (
	//go:embed assets/tasks/tasks.css
	tasksStyle string
	//go:embed assets/tasks/tasks.js
	tasksScript string
)
