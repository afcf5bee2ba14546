// Package show converts values to the form in which the pages show them: numbers, times,
// long texts, invisible characters, small charts, and links to types and queues.
package show

import (
	"html/template"
	"time"
	"unicode"
	"unicode/utf8"

	"outboxd/domain/diagnosis"
	"outboxd/domain/figures"
	"outboxd/domain/overview"
	"outboxd/domain/setup"
	"outboxd/domain/words"
)

// Formats has the functions that templates call to write values.
var Formats = template.FuncMap{
	"brief":        brief,
	"long":         NewLongText,
	"count":        words.Count[int64],
	"countInt":     words.Count[int],
	"int64":        func(n int) int64 { return int64(n) },
	"plural":       words.Plural[int64],
	"duration":     words.Duration,
	"instant":      instant,
	"rate":         words.Rate,
	"ago":          words.Ago,
	"title":        Title,
	"leg":          newLeg,
	"passed":       newPassed,
	"subscription": subscription,
	"age":          age,
	"weights":      overview.QueueWeights,
	"of":           TypeQuery,
	"in":           QueueQuery,
}

// Title writes the name of a server with its usual capitals.
func Title(name string) string {
	switch name {
	case "postgres":
		return diagnosis.PostgreSQL
	case "redis":
		return diagnosis.Redis
	default:
		return name
	}
}

// Capital returns a text with a capital first letter.
func Capital(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return text
	}
	return string(unicode.ToUpper(first)) + text[size:]
}

// leg is one step of the flow of events (emitted, enqueued or confirmed). Now and Hour are
// how many events a second take this step, now and in the last hour; negative: nothing was measured. Over is the time that
// Hour covers, in words. That time is shorter than an hour if less was measured.
type leg struct {
	Name      string
	Known     bool
	Now, Hour float64
	Over      string
}

func newLeg(name string, known bool, now, hour overview.Flow) leg {
	choose := func(f overview.Flow) float64 {
		switch {
		case f.Seconds <= 0:
			return -1
		case name == "emitted":
			return f.Rate(f.Emitted)
		case name == "enqueued":
			return f.Rate(f.Enqueued)
		default:
			return f.Rate(f.Confirmed)
		}
	}
	over := "the hour"
	if span := hour.HourSpan(); span != time.Hour {
		over = words.Duration(span)
	}
	return leg{name, known, choose(now), choose(hour), over}
}

// passed has the measured figures of a type or a queue, and over which time they were measured.
type passed struct {
	figures.Measurement
	figures.Sum
}

func newPassed(seen figures.Seen, sum figures.Sum) *passed { return &passed{seen.Measurement, sum} }

// subscription returns the name of the subscription to which a queue belongs; "" if it belongs to none.
func subscription(queue string) string {
	if name, delivery := setup.SubscriptionOfQueue(queue); delivery {
		return name
	}
	return ""
}

// brief shortens a text for a cell of a table, to 160 characters.
func brief(text string) string {
	const longest = 160
	return words.Cut(text, longest)
}

// instant writes a time for the attribute datetime of <time>, in UTC; "" for the
// zero time.
func instant(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return at.UTC().Format("2006-01-02T15:04:05.000Z")
}

// age writes how long something has waited; "" for the zero time.
func age(now, since time.Time) string {
	if since.IsZero() {
		return ""
	}
	return words.Rough(max(now.Sub(since), 0))
}
