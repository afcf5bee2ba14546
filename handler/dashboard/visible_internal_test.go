package dashboard

import "testing"

func TestHiddenCharactersOfAPageAreVisible(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		"<p title=\"a\u202eb\">a\u202eb</p>\r\n": "<p title=\"a\u202eb\">a‹U+202E›b</p>␍\n",
		"a\x1bb":                                 "a␛b",
		"<input value=\"\x01\"><pre>\x01 two\nlines</pre": "<input value=\"\x01\"><pre>␁ two\nlines</pre",
		"": "",
	} {
		if got := string(visible([]byte(page))); got != want {
			t.Errorf("%q is shown as %q, want %q", page, got, want)
		}
	}
}
