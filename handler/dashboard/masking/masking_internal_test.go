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
		{"\x00\xffpassword=x", "no text", "•••"},
	} {
		if got := m.Show([]byte(c.raw)); got.Form != c.form || got.Text != c.want || got.Cut || got.Bytes != len(c.raw) {
			t.Errorf("%q is shown as %s: %q", c.raw, got.Form, got.Text)
		}
	}
	for raw, form := range map[string]string{
		`{"a":"` + strings.Repeat("x", 40_000) + `"}`: "JSON", `[` + strings.Repeat("1,", 40_000) + `1]`: "JSON",
		strings.Repeat("ä", 40_000) + "x": "text",
	} {
		if got := m.Show([]byte(raw)); !got.Cut || got.Form != form || len(got.Text) > textShown || len(got.Text) < 4000 || strings.ContainsRune(got.Text, '\uFFFD') {
			t.Errorf("%.20q… is shown as %s, %d bytes, cut: %t", raw, got.Form, len(got.Text), got.Cut)
		}
		if got := m.Whole([]byte(raw)); got.Cut || got.Form != form || len(got.Text) < len(raw) || got.Text[len(got.Text)-1] != raw[len(raw)-1] {
			t.Errorf("%.20q… is shown as a whole as %s, %d bytes, cut: %t", raw, got.Form, len(got.Text), got.Cut)
		}
	}
}

// A mask finds a name with or without hyphens, underscores and capitals, and hides its value. With
// a space it is another name.
func TestAMaskFindsANameHoweverItIsWritten(t *testing.T) {
	t.Parallel()
	for _, mask := range []string{"api_key", "api-key", "apikey", "apiKey", "API_KEY"} {
		m := New([]string{mask, "authorization"})
		for raw, want := range map[string]string{
			"api_key=hidden&x=1": "api_key=•••&x=1", "api-key=hidden": "api-key=•••", "Api-Key: hidden\nx: 1": "Api-Key: •••\nx: 1", "X-API-KEY:hidden": "X-API-KEY:•••",
			"apiKey = hidden": "apiKey = •••", "myApiKey2='hid den'; x": "myApiKey2=•••; x", `{"apiKey": "hid\"den", broken`: `{"apiKey": •••, broken`,
			"Authorization: Bearer hidden\nx": "Authorization: •••\nx", "authorization=hidden x": "authorization=••• x",
			"api key=shown": "api key=shown", "rapid=shown": "rapid=shown",
			`{"apiKey":"hidden"}`: "{\n  \"apiKey\": \"•••\"\n}", `{"X-Api_key":["hidden"]}`: "{\n  \"X-Api_key\": \"•••\"\n}", `{"APIKEY":1}`: "{\n  \"APIKEY\": \"•••\"\n}",
		} {
			if got := m.Show([]byte(raw)).Text; got != want {
				t.Errorf("the mask %s shows %q as %q, want %q", mask, raw, got, want)
			}
		}
	}
}

// Nobody finds keys in bytes that are no text, so a mask hides them as a whole.
func TestBytesAreShownOnlyToThoseWhoMaySeeAll(t *testing.T) {
	t.Parallel()
	raw := []byte(strings.Repeat("\xff\x00token=hidden", 1000))
	if p := New([]string{"token"}).Show(raw); !p.Withheld || p.Text != Hidden || p.Bytes != len(raw) {
		t.Errorf("masked they are %+v", p)
	}
	for name, p := range map[string]Payload{"without a mask": New(nil).Show(raw), "in whole": Hexadecimal(raw)} {
		if p.Withheld || p.Form != "hexadecimal" || !p.Cut || !strings.HasPrefix(p.Text, "00000000  ff 00 74 6f") {
			t.Errorf("%s they are %+v", name, p)
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

// An export has a payload as a whole. Small payloads must not become large ones there, whatever their depth.
func TestAWholePayloadDoesNotGrow(t *testing.T) {
	t.Parallel()
	m := New([]string{"password"})
	for _, raw := range []string{
		strings.Repeat("[", 9999) + strings.Repeat("]", 9999), strings.Repeat(`{"a":`, 5000) + "1" + strings.Repeat("}", 5000),
		strings.Repeat("[", 5000) + strings.Repeat("[],", 5000) + "1" + strings.Repeat("]", 5000),
	} {
		if got := m.Whole([]byte(raw)); got.Text != raw || got.Cut {
			t.Errorf("%d bytes are shown as %d", len(raw), len(got.Text))
		}
	}
	for raw, want := range map[string]string{
		`{ "a" : [1, {"password" : [1,2]} ], "b": {} }`: `{"a":[1,{"password":"•••"}],"b":{}}`, `"password=x"`: `"password=x"`, "password=x y": "password=••• y",
	} {
		if got := m.Whole([]byte(raw)); got.Text != want {
			t.Errorf("%s is shown as %s, want %s", raw, got.Text, want)
		}
	}
}
