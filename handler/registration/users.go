package registration

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"
	"go.opentelemetry.io/otel/propagation"

	"outboxd/domain"
	example "outboxd/domain/registration"
	"outboxd/domain/traceparent"
	"outboxd/handler"
)

const usersPath = "/api/v1/users"

// users handles the requests about users.
type users struct {
	server    *handler.Server
	store     example.UserStore
	committed func()
	hasher    *Hasher
}

// The JSON documents of requests and answers, as the API's description shows them.
type (
	registration struct {
		Email    string `json:"email" format:"email" maxLength:"254" doc:"Unique regardless of the case of the letters A to Z" example:"ada@example.com"`
		Password string `json:"password" format:"password" maxLength:"1024" doc:"8 to 1024 bytes of UTF-8" example:"correct horse battery"`
	}
	registered struct {
		ID        string    `json:"id" format:"uuid"`
		Email     string    `json:"email" format:"email" example:"ada@example.com"`
		CreatedAt time.Time `json:"created_at"`
	}
	userDocument struct {
		ID            string                 `json:"id" format:"uuid"`
		Email         string                 `json:"email" format:"email" example:"ada@example.com"`
		CreatedAt     time.Time              `json:"created_at"`
		Notifications []notificationDocument `json:"notifications" nullable:"false" doc:"Oldest first"`
	}
	notificationDocument struct {
		ID        string     `json:"id" format:"uuid"`
		Type      string     `json:"type" example:"USER_REGISTRATION"`
		Message   string     `json:"message"`
		Status    string     `json:"status" enum:"PENDING,SENT"`
		SentAt    *time.Time `json:"sent_at" doc:"null until the notification was sent"`
		CreatedAt time.Time  `json:"created_at"`
	}
)

// The inputs and outputs of the operations, from which huma makes the description.
type (
	registerInput struct {
		// This field only documents the header. Resolve reads the header, because
		// huma would see only its first value.
		IdempotencyKey string `header:"Idempotency-Key" maxLength:"257" doc:"1 to 255 printable characters, in double quotes or bare. A repeated request with the same key and body gets the same answer and registers nobody twice."`
		Traceparent    string `header:"traceparent" doc:"W3C Trace Context; travels with the event to its handler"`
		RawBody        []byte `contentType:"application/json"`

		keys        []string
		contentType string
	}
	registerOutput struct {
		Location string `header:"Location" doc:"The address of the user"`
		Replayed string `header:"Idempotency-Replayed" doc:"true if an earlier request with the same key was answered"`
		Body     registered
	}
	findInput struct {
		ID string `path:"id" format:"uuid"`
	}
	findOutput struct{ Body userDocument }
)

// Resolve implements huma.Resolver. Resolve reads those parts of the request that
// huma's parameters cannot describe.
func (in *registerInput) Resolve(ctx huma.Context) []error {
	c := fiberOf(ctx)
	for _, key := range c.Request().Header.PeekAll(HeaderIdempotencyKey) {
		in.keys = append(in.keys, string(key))
	}
	in.contentType = c.Get(fiber.HeaderContentType)
	return nil
}

func (u *users) register(ctx context.Context, in *registerInput) (*registerOutput, error) {
	user, replayed, err := u.registerUser(ctx, in)
	if err != nil {
		return nil, u.server.Problem(ctx, err)
	}
	out := &registerOutput{Location: usersPath + "/" + user.ID.String(), Body: registeredOf(user)}
	if replayed {
		out.Replayed = "true"
	}
	return out, nil
}

func (u *users) registerUser(ctx context.Context, in *registerInput) (user *example.User, replayed bool, err error) {
	key, err := parseIdempotencyKey(in.keys)
	if err != nil {
		return nil, false, err
	}
	request, err := readRegistration(in)
	if err != nil {
		return nil, false, err
	}
	if key != "" {
		user, err := u.replay(ctx, key, request)
		if domain.ErrorCode(err) != domain.CodeNotFound {
			return user, true, err
		}
	}
	user = &example.User{Email: request.Email}
	if user.PasswordHash, err = u.hasher.Hash(ctx, request.Password); err != nil {
		return nil, false, err
	}
	err = u.store.Register(ctx, user, key, eventHeaders(ctx, in.Traceparent))
	if errors.Is(err, example.ErrKeyUsed) {
		// Another request with this key ran at the same time and registered the
		// user first.
		user, err = u.replay(ctx, key, request)
		return user, true, err
	}
	if err == nil && u.committed != nil {
		u.committed()
	}
	return user, false, err
}

// replay returns the user that an earlier request with this key registered, if this
// request has the same body. The earlier request itself is not stored, so this request is
// compared with the stored user. The password is compared with the stored hash, which is
// slow to compute. A faster hash in the database would be easier to attack.
//
// Errors: a Problem with status 422 if the request differs from the earlier one, and those
// of UserStore.FindUserByKey (domain.CodeNotFound if the key is new) and Hasher.Matches.
func (u *users) replay(ctx context.Context, key string, request example.Request) (*example.User, error) {
	user, err := u.store.FindUserByKey(ctx, key)
	if err != nil {
		return nil, err
	}
	same := user.Email == request.Email
	if same {
		if same, err = u.hasher.Matches(ctx, request.Password, user.PasswordHash); err != nil {
			return nil, err
		}
	}
	if !same {
		p := handler.Problemf(http.StatusUnprocessableEntity, "the Idempotency-Key belongs to an earlier request with another body")
		p.Errors = []handler.ProblemField{{Field: HeaderIdempotencyKey, Location: "header", Message: "must be new for a new request"}}
		return nil, p
	}
	return user, nil
}

// readRegistration reads the body of a registration. If fields are wrong, the error of
// readRegistration has all faults at once, one for each field.
func readRegistration(in *registerInput) (example.Request, error) {
	var r example.Request
	if err := checkJSONType(in.contentType); err != nil {
		return r, err
	}
	faults, err := readStrings(in.RawBody, map[string]*string{"email": &r.Email, "password": &r.Password})
	if err != nil {
		return r, err
	}
	err = r.Validate()
	if len(faults) == 0 {
		return r, err
	}
	if invalid, ok := errors.AsType[*domain.Error](err); ok {
		for _, f := range invalid.Fields {
			if !slices.ContainsFunc(faults, func(known domain.FieldError) bool { return known.Field == f.Field }) {
				faults = append(faults, f)
			}
		}
	}
	return r, &domain.Error{Code: domain.CodeInvalid, Message: "the registration has bad fields", Fields: faults}
}

// eventHeaders returns the headers for the event: the request's ID and its trace.
// The trace is that of this server's span. Without a span, it is the trace that the client
// sent.
func eventHeaders(ctx context.Context, header string) map[string]string {
	headers := map[string]string{"request_id": handler.RequestID(ctx)}
	if parent, ok := traceparent.Parse(header); ok {
		headers[traceparent.Header] = parent
	}
	propagation.TraceContext{}.Inject(ctx, propagation.MapCarrier(headers))
	return headers
}

func (u *users) find(ctx context.Context, in *findInput) (*findOutput, error) {
	id, err := domain.ParseID(in.ID)
	if err != nil {
		p := handler.Problemf(http.StatusUnprocessableEntity, "the id in the address is not a UUID")
		p.Errors = []handler.ProblemField{{Field: "id", Location: "path", Message: "must be a UUID"}}
		return nil, u.server.Problem(ctx, p)
	}
	user, notifications, err := u.store.FindUser(ctx, id)
	if domain.ErrorCode(err) == domain.CodeNotFound {
		err = domain.Wrap(domain.CodeNotFound, err, "there is no user with this id")
	}
	if err != nil {
		return nil, u.server.Problem(ctx, err)
	}
	out := &findOutput{Body: userDocument{
		ID: user.ID.String(), Email: user.Email, CreatedAt: user.CreatedAt.UTC(),
		Notifications: []notificationDocument{}, // so that an empty list is not null in JSON
	}}
	for _, n := range notifications {
		document := notificationDocument{
			ID: n.ID.String(), Type: n.Type, Message: n.Message,
			Status: string(n.Status), CreatedAt: n.CreatedAt.UTC(),
		}
		if n.SentAt != nil {
			at := n.SentAt.UTC()
			document.SentAt = &at
		}
		out.Body.Notifications = append(out.Body.Notifications, document)
	}
	return out, nil
}

func registeredOf(u *example.User) registered {
	return registered{ID: u.ID.String(), Email: u.Email, CreatedAt: u.CreatedAt.UTC()}
}
