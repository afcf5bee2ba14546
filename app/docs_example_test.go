package app_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
)

// The guide says how long the producer and the consumer of the example are.
func TestTheExampleIsAsShortAsTheGuideSays(t *testing.T) {
	t.Parallel()
	read := func(path string) string {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	code := regexp.MustCompile(`(?m)^\s*[^\s/]|^\s*/[^/]`)
	lines := func(file string) int { return len(code.FindAllString(read("../docs/examples/orders/"+file), -1)) }
	long, test := lines("orders.go"), lines("orders_test.go")
	guide := strings.Join(strings.Fields(read("../docs/guides/client.md")), " ")
	if want := fmt.Sprintf("are %d lines, and its [test](../examples/orders/orders_test.go) is %d.", long, test); !strings.Contains(guide, want) {
		t.Errorf("the guide does not say %q", want)
	}
	if long > 60 {
		t.Errorf("a producer and a consumer need %d lines, want at most 60", long)
	}
}
