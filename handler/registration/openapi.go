package registration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"outboxd/handler"
)

// describe registers the operations with huma and serves the OpenAPI description that huma
// makes. huma does not check parameters and bodies. The operations themselves check them:
// they report all faults at once, by field, and do not repeat values.
func describe(app *fiber.App, u *users, version string, bodyLimit int) {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	api := huma.NewAPI(huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "outboxd", Version: version,
				Description: "Registers users. Each registration also writes an event, in the same transaction, and the event sends the welcome.",
			},
			Components: &huma.Components{Schemas: registry},
		},
		// Set no paths, so that huma does not serve its pages and the description itself.
		// huma would build the description at the first request, in a data race with the
		// second.
		Formats:       huma.DefaultFormats,
		DefaultFormat: fiber.MIMEApplicationJSON,
		Transformers:  []huma.Transformer{u.translate},
	}, humaAdapter{app})
	problem := registry.Schema(reflect.TypeFor[handler.Problem](), true, "Problem")
	huma.Register(api, huma.Operation{
		OperationID: "register-user", Method: http.MethodPost, Path: usersPath, Tags: []string{"users"},
		Summary:       "Register a user",
		Description:   "Writes the user, a welcome notification and the event that sends it, all or none.",
		DefaultStatus: http.StatusCreated,
		// huma refuses a body of exactly its limit, so give it one byte more.
		// checkBody enforces the real limit.
		MaxBodyBytes:     int64(bodyLimit) + 1,
		SkipValidateBody: true, SkipValidateParams: true,
		Responses: problems(problem, 400, 409, 413, 415, 422, 429, 500, 503),
	}, u.register)
	huma.Register(api, huma.Operation{
		OperationID: "find-user", Method: http.MethodGet, Path: usersPath + "/{id}", Tags: []string{"users"},
		Summary:            "Show a user and the notifications to this user",
		SkipValidateParams: true,
		Responses:          problems(problem, 404, 422, 429, 500, 503),
	}, u.find)

	body := api.OpenAPI().Paths[usersPath].Post.RequestBody
	body.Required = true
	body.Content[fiber.MIMEApplicationJSON].Schema = registry.Schema(reflect.TypeFor[registration](), true, "Registration")
	// Remove huma's own error model, which huma always adds and nothing uses.
	delete(registry.Map(), "ErrorModel")
	delete(registry.Map(), "ErrorDetail")
	serveDescription(app, api.OpenAPI())
}

// problems returns the documentation of the error responses, one for each status.
func problems(schema *huma.Schema, statuses ...int) map[string]*huma.Response {
	responses := make(map[string]*huma.Response, len(statuses))
	for _, status := range statuses {
		r := &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{handler.ProblemType: {Schema: schema}},
		}
		if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable {
			r.Headers = map[string]*huma.Header{fiber.HeaderRetryAfter: {
				Description: "Seconds to wait", Schema: &huma.Schema{Type: huma.TypeInteger},
			}}
		}
		responses[strconv.Itoa(status)] = r
	}
	return responses
}

// translate turns the few errors that come from huma itself into Problems.
func (u *users) translate(ctx huma.Context, _ string, v any) (any, error) {
	if e, own := v.(*huma.ErrorModel); own {
		return u.server.Problem(ctx.Context(), problemOfHuma(e)), nil
	}
	return v, nil
}

func serveDescription(app *fiber.App, document *huma.OpenAPI) {
	asJSON, err := json.Marshal(document)
	if err != nil {
		panic(fmt.Errorf("write the API's description: %w", err)) // if it fails, it fails at every start
	}
	asYAML, err := document.YAML()
	if err != nil {
		panic(fmt.Errorf("write the API's description: %w", err))
	}
	serve(app, "/openapi.json", "application/openapi+json", asJSON)
	serve(app, "/openapi.yaml", "application/openapi+yaml", asYAML)
}

// serve answers GET and HEAD of a path with a fixed document.
func serve(app *fiber.App, path, contentType string, body []byte) {
	app.Get(path, func(c *fiber.Ctx) error {
		c.Set(fiber.HeaderContentType, contentType)
		c.Set(fiber.HeaderCacheControl, "no-cache")
		return c.Send(body)
	})
}

// problemOfHuma converts an error of huma. problemOfHuma keeps only the message and
// the location: huma's error also has the wrong value, which may be a password.
func problemOfHuma(e *huma.ErrorModel) error {
	if e.Status >= http.StatusInternalServerError {
		return e
	}
	p := handler.Problemf(e.Status, "%s", e.Detail)
	for _, d := range e.Errors {
		if d == nil {
			continue
		}
		p.Errors = append(p.Errors, handler.ProblemField{Field: d.Location, Location: "body", Message: d.Message})
	}
	return p
}
