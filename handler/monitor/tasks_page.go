package monitor

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/handler/dashboard/shell"
)

// The parts that outboxd adds to Asynqmon's page: colours, and a link back to the
// dashboard. The link is in a corner that is empty at every window width.
var (
	tasksHead = "<style>" + tasksStyle + "</style></head>"
	tasksBack = `<nav id="outboxd" aria-label="outboxd"><a href="/">← outboxd</a></nav><script>` + tasksScript + `</script><div id="root">`
)

// tasksIcons matches the links that outboxd removes from Asynqmon's page. A browser loads
// the icons again whenever the page changes its address, and loads the manifest without
// the session cookie.
var tasksIcons = regexp.MustCompile(`<link rel="(icon|apple-touch-icon|manifest)"[^>]*>`)

// settle changes Asynqmon's page so that it fits into the monitor. settle makes the
// page's addresses relative, because a proxy may put all pages below a path that
// only the browser knows.
func settle(c *fiber.Ctx) {
	if !strings.HasPrefix(string(c.Response().Header.ContentType()), "text/html") {
		return
	}
	page := tasksIcons.ReplaceAll(c.Response().Body(), nil)
	for _, change := range []struct{ old, new string }{
		{`="` + tasksPath + "/", `="` + shell.Root(c.Path()) + tasksPath[1:] + "/"},
		{`i.p="` + strings.ReplaceAll(tasksPath, "/", `\/`) + `/"`, `i.p=window.FLAG_ROOT_PATH+"/"`},
		{"</head>", tasksHead},
		{`<div id="root">`, tasksBack},
	} {
		page = bytes.ReplaceAll(page, []byte(change.old), []byte(change.new))
	}
	c.Response().SetBody(page)
}
