package registration

import (
	"embed"
	"fmt"

	"github.com/gofiber/fiber/v2"
)

//go:embed assets
var assets embed.FS

// docsPolicy is the Content-Security-Policy of the page /docs. The page may load only
// files of this server. docsPolicy allows data URLs, because Swagger UI has its icons as
// data URLs in its own files.
const docsPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// serveDocs serves the page for trying the API at /docs, and redirects / to /docs.
func serveDocs(app *fiber.App) {
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("/docs") })
	app.Get("/docs/", func(c *fiber.Ctx) error { return c.Redirect("/docs") })
	page := asset("swagger-ui/index.html")
	app.Get("/docs", func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentSecurityPolicy, docsPolicy)
		c.Set(fiber.HeaderContentType, fiber.MIMETextHTMLCharsetUTF8)
		c.Set(fiber.HeaderCacheControl, "no-cache")
		return c.Send(page)
	})
	serve(app, "/docs/swagger-ui.css", "text/css; charset=utf-8", asset("swagger-ui/swagger-ui.css"))
	serve(app, "/docs/swagger-ui-bundle.js", fiber.MIMETextJavaScriptCharsetUTF8, asset("swagger-ui/swagger-ui-bundle.js"))
	serve(app, "/docs/initializer.js", fiber.MIMETextJavaScriptCharsetUTF8, asset("swagger-ui/initializer.js"))
}

// asset returns an embedded file. A missing file means a broken build.
func asset(name string) []byte {
	body, err := assets.ReadFile("assets/" + name)
	if err != nil {
		panic(fmt.Errorf("read an embedded file: %w", err))
	}
	return body
}
