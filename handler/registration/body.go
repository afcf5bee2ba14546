package registration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"outboxd/domain"
	"outboxd/handler"
)

// maxReportedFields limits how many wrong fields an answer lists. Wrong fields that the
// API knows are always listed, even above that limit.
const maxReportedFields = 20

// checkBody refuses a body that is compressed or too large. checkBody reads the raw
// bytes, because fiber's method Body would first decompress a compressed body, to
// any size.
func checkBody(limit int) fiber.Handler {
	return func(c *fiber.Ctx) error {
		encoding := strings.TrimSpace(c.Get(fiber.HeaderContentEncoding))
		if encoding != "" && !strings.EqualFold(encoding, "identity") {
			return handler.Problemf(http.StatusUnsupportedMediaType, "the body must not be compressed").
				With(fiber.HeaderAcceptEncoding, "identity")
		}
		if len(c.Request().Body()) > limit {
			return domain.Errorf(domain.CodeTooLarge, "the body must have at most %d bytes", limit)
		}
		return c.Next()
	}
}

// checkJSONType refuses every media type except application/json in UTF-8.
func checkJSONType(contentType string) error {
	media, params, err := mime.ParseMediaType(contentType)
	if err == nil && media == fiber.MIMEApplicationJSON {
		if charset := params["charset"]; charset == "" || strings.EqualFold(charset, "utf-8") {
			return nil
		}
	}
	return handler.Problemf(http.StatusUnsupportedMediaType, "the Content-Type must be application/json, in UTF-8").
		With(fiber.HeaderAccept, fiber.MIMEApplicationJSON)
}

// readStrings reads a JSON object into the variables of fields. All members are
// required and must be strings. readStrings returns at most one fault for each
// member, or an error if the body is no JSON object at all. readStrings does not
// use encoding/json alone, because encoding/json stops at the first fault, and
// silently accepts unknown members, repeated members and invalid UTF-8.
func readStrings(body []byte, fields map[string]*string) ([]domain.FieldError, error) {
	if !utf8.Valid(body) {
		return nil, handler.Problemf(http.StatusBadRequest, "the body is not valid UTF-8")
	}
	var whole json.RawMessage
	var syntax *json.SyntaxError
	if err := json.Unmarshal(body, &whole); errors.As(err, &syntax) {
		return nil, handler.Problemf(http.StatusBadRequest, "the body is not valid JSON (at byte %d)", syntax.Offset)
	} else if err != nil {
		return nil, handler.Problemf(http.StatusBadRequest, "the body is not valid JSON")
	}
	d := json.NewDecoder(bytes.NewReader(whole))
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, domain.Errorf(domain.CodeInvalid, "the body must be a JSON object")
	}
	faults, err := readMembers(d, fields)
	slices.SortFunc(faults, func(a, b domain.FieldError) int { return strings.Compare(a.Field, b.Field) })
	return faults, err
}

func readMembers(d *json.Decoder, fields map[string]*string) ([]domain.FieldError, error) {
	var faults []domain.FieldError
	seen := make(map[string]string) // a member's name, and what is wrong with it
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("read a member's name: %w", err)
		}
		var written json.RawMessage
		if err := d.Decode(&written); err != nil {
			return nil, handler.Problemf(http.StatusBadRequest, "the body is not valid JSON")
		}
		var text string
		isString := written[0] == '"' && json.Unmarshal(written, &text) == nil
		key, _ := name.(string)
		if _, again := seen[key]; again {
			seen[key] = "must be given once"
			continue
		}
		into, known := fields[key]
		switch {
		case !known:
			seen[key] = "is not known"
		case !isString:
			seen[key] = "must be a string"
		case hasLoneSurrogate(written):
			seen[key] = "must be valid Unicode: it has one half of a surrogate pair"
		default:
			seen[key], *into = "", text
		}
	}
	for name := range fields {
		if _, given := seen[name]; !given {
			seen[name] = "is required"
		}
	}
	for name, fault := range seen {
		if fault != "" && (len(faults) < maxReportedFields || fields[name] != nil) {
			faults = append(faults, domain.FieldError{Field: clip(name), Message: fault})
		}
	}
	return faults, nil
}

// hasLoneSurrogate reports whether a JSON string has an escape such as \ud800 that is not one of a pair.
// encoding/json would replace every such escape by U+FFFD, so that different passwords would become equal.
func hasLoneSurrogate(written []byte) bool {
	high := false // the escape before was the first one of a pair
	for i := 0; i < len(written); i++ {
		unit := uint64(0)
		if written[i] == '\\' {
			if i++; written[i] == 'u' {
				unit, _ = strconv.ParseUint(string(written[i+1:i+5]), 16, 16) // valid JSON has four digits here
				i += 4
			}
		}
		low := unit >= 0xdc00 && unit <= 0xdfff
		if high != low {
			return true
		}
		high = unit >= 0xd800 && unit <= 0xdbff
	}
	return false
}

// clip shortens a text from the client that an answer repeats.
func clip(s string) string {
	if len(s) <= 60 {
		return s
	}
	return strings.ToValidUTF8(s[:60], "") + "…"
}
