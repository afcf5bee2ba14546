package monitor

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/gofiber/fiber/v2"

	"outboxd/handler/dashboard"
)

// The parts that outboxd adds to Asynqmon's page: its colours, and the way back
// to the dashboard in a corner that the page leaves free at every width.
var (
	tasksHead = "<style>" + tasksStyle + "</style></head>"
	tasksBack = `<nav id="outboxd" aria-label="outboxd"><a href="/">← outboxd</a></nav><script>` + tasksScript + `</script><div id="root">`
)

// tasksIcons are links that a browser follows again when the page has changed
// its own address, and the manifest, for which it sends no cookie.
var tasksIcons = regexp.MustCompile(`<link rel="(icon|apple-touch-icon|manifest)"[^>]*>`)

// settle makes Asynqmon's page one of the house. Its addresses become relative,
// for a proxy may put all pages below a path that only the browser knows.
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
