package masking

import (
	"strings"
	"testing"
)

func TestPayloadsAreShownAndMasked(t *testing.T) {
	t.Parallel()
	m := New([]string{"password", "token", "secret", "authorization"})
	for _, c := range []struct{ raw, form, want string }{
		{
			`{"b":1.50,"a":[1,{"Access_Token":{"x":"hidden"},"<b>":null}],"e":{},"f":[]}`, "JSON",
			"{\n  \"b\": 1.50,\n  \"a\": [\n    1,\n    {\n      \"Access_Token\": \"•••\",\n      \"<b>\": null\n    }\n  ],\n  \"e\": {},\n  \"f\": []\n}",
		},
		{`"text"`, "JSON", `"text"`},
		{"\"a\u202eb\u200b\U000e0001\"", "JSON", `"a\u202eb\u200b\udb40\udc01"`},
		{`12345678901234567890`, "JSON", `12345678901234567890`},
		{`user=ada&password=hidden&x=1`, "text", `user=ada&password=•••&x=1`},
		{`{"client-secret": "hid den", broken`, "text", `{"client-secret": •••, broken`},
		{"", "text", ""},
		{"\x00\xff", "hexadecimal", "00000000  00 ff                                             |..|\n"},
	} {
		if got := m.Show([]byte(c.raw)); got.Form != c.form || got.Text != c.want || got.Cut || got.Bytes != len(c.raw) {
			t.Errorf("%q is shown as %s: %q", c.raw, got.Form, got.Text)
		}
	}
	for raw, form := range map[string]string{
		`{"a":"` + strings.Repeat("x", 40_000) + `"}`: "JSON", `[` + strings.Repeat("1,", 40_000) + `1]`: "JSON",
		strings.Repeat("ä", 40_000) + "x": "text", strings.Repeat("\xff", 40_000): "hexadecimal",
	} {
		if got := m.Show([]byte(raw)); !got.Cut || got.Form != form || len(got.Text) > textShown || len(got.Text) < 4000 || strings.ContainsRune(got.Text, '\uFFFD') {
			t.Errorf("%.20q… is shown as %s, %d bytes, cut: %t", raw, got.Form, len(got.Text), got.Cut)
		}
	}
}

func FuzzShow(f *testing.F) {
	for _, seed := range []string{`{"token":{"a":[1]},"b":"c"}`, `password=x`, "\xff", `[[[[`, `{"a":1}{"b":2}`} {
		f.Add([]byte(seed))
	}
	m := New([]string{"token"})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if got := m.Show(raw); got.Bytes != len(raw) || len(got.Text) > 6*textShown {
			t.Errorf("%d bytes are shown as %d", len(raw), len(got.Text))
		}
	})
}
