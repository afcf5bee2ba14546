package show

import "testing"

func TestHiddenCharactersOfAPageAreVisible(t *testing.T) {
	t.Parallel()
	for page, want := range map[string]string{
		"<p title=\"a\u202eb\">a\u202eb</p>\r\n":                                                                "<p title=\"a‹U+202E›b\">a‹U+202E›b</p>␍\n",
		"<b aria-label=\"\x01\" data-label=\"\x02\" href=\"\x03\">":                                             "<b aria-label=\"␁\" data-label=\"␂\" href=\"\x03\">",
		"<input type=\"hidden\" value=\"\x01\"><input type=\"checkbox\" value=\"\x01\"><button value=\"\x01\">": "<input type=\"hidden\" value=\"\x01\"><input type=\"checkbox\" value=\"\x01\"><button value=\"\x01\">",
		"a\x1bb": "a␛b",
		"<input value=\"\x01\"><pre>\x01 two\nlines</pre":                          "<input value=\"␁\"><pre>␁ two\nlines</pre",
		"<input value=\"a\nb\"\n><option value=\"a\x01\nb\"><input\nvalue=\"\n\">": "<input value=\"a␊b\"\n><option value=\"a␁␊b\"><input\nvalue=\"␊\">",
		"": "",
	} {
		if got := string(Visible([]byte(page))); got != want {
			t.Errorf("%q is shown as %q, want %q", page, got, want)
		}
	}
}
