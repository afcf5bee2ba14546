package monitor

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/handler/dashboard"
)

// The parts that outboxd adds to Asynqmon's page: its colours, and a link back
// to the dashboard in a corner that is free at every width.
var (
	tasksHead = "<style>" + tasksStyle + "</style></head>"
	tasksBack = `<nav id="outboxd" aria-label="outboxd"><a href="/">← outboxd</a></nav><script>` + tasksScript + `</script><div id="root">`
)

// tasksIcons matches links that are removed: icons, which a browser loads again
// when the page changes its own address, and the manifest, which it loads
// without the cookie.
var tasksIcons = regexp.MustCompile(`<link rel="(icon|apple-touch-icon|manifest)"[^>]*>`)

// settle fits Asynqmon's page into the monitor. Its addresses become relative,
// because a proxy may put all pages below a path that only the browser knows.
func settle(c *fiber.Ctx) {
	if !strings.HasPrefix(string(c.Response().Header.ContentType()), "text/html") {
		return
	}
	page := tasksIcons.ReplaceAll(c.Response().Body(), nil)
	for _, change := range []struct{ old, new string }{
		{`="` + tasksPath + "/", `="` + dashboard.Root(c.Path()) + tasksPath[1:] + "/"},
		{`i.p="` + strings.ReplaceAll(tasksPath, "/", `\/`) + `/"`, `i.p=window.FLAG_ROOT_PATH+"/"`},
		{"</head>", tasksHead},
		{`<div id="root">`, tasksBack},
	} {
		page = bytes.ReplaceAll(page, []byte(change.old), []byte(change.new))
	}
	c.Response().SetBody(page)
}
