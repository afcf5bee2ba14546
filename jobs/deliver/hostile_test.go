package deliver_test

import (
	"mime"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"outboxd/domain/setup"
	"outboxd/jobs/deliver"
)

// If an event could not be written as a CloudEvent, its delivery would fail for ever, and its
// receiver would count as down: no other event would be delivered then.
func TestAnyContentTypeCanBeDelivered(t *testing.T) {
	t.Parallel()
	for _, format := range []string{setup.FormatRaw, setup.FormatCloudEvents, setup.FormatCloudEventsStructured} {
		server, sender := newReceiver(t, nil), newSender(t)
		for i, kind := range []string{
			"JSON", "application/json; charset", "text plain", "application/json, text/plain", "application/json; a=1; a=2", "ü/ü", ";", "/", " ", "\x00",
			"application/", "Application/JSON", "x+json", "a/b+c+json", "text/json", "application/json; charset=latin1", strings.Repeat("a/", 5000),
		} {
			d := sample()
			d.Headers["Content-Type"] = kind
			a := sender.Send(t.Context(), deliver.Target{URL: server.URL, Format: format}, d)
			if a.Outcome != deliver.Accepted {
				t.Errorf("%s, %.40q: %s", format, kind, &a)
				continue
			}
			got := server.got()[len(server.got())-1]
			if media, _, err := mime.ParseMediaType(got.header.Get("Content-Type")); (err != nil || !strings.Contains(media, "/")) && format != setup.FormatRaw {
				t.Errorf("%d: %s, %.40q: the Content-Type %.40q: %v", i, format, kind, got.header.Get("Content-Type"), err)
			}
			if format != setup.FormatCloudEventsStructured && string(got.body) != string(d.Payload) {
				t.Errorf("%s, %.40q: the body is %q", format, kind, got.body)
			}
		}
	}
}

// A proxy may take these hosts for addresses of its own machine.
func TestOddAddressesAreRefusedBeforeAProxy(t *testing.T) {
	t.Parallel()
	proxy := newReceiver(t, nil)
	through, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard(), Proxy: through})
	t.Cleanup(s.Close)
	for _, host := range []string{
		"127.0.0.1", "127.1", "127.0.0.1.", "2130706433", "0x7f000001", "0x7f.1", "0X7F.0.0.0X1", "0177.0.0.1", "0", "10.1", "receiver.example.1",
		"[::1]", "[::ffff:127.0.0.1]", "[fe80::1%25eth0]", "[::127.0.0.1]",
	} {
		if a := s.Send(t.Context(), deliver.Target{URL: "http://" + host + "/"}, sample()); a.Trouble() != "refused address" {
			t.Errorf("%s: %s", host, &a)
		}
	}
	if got := proxy.got(); len(got) > 0 {
		t.Errorf("the proxy got %d deliveries", len(got))
	}
	for _, host := range []string{"receiver.invalid", "3com.invalid", "1receiver", "0receiver", "93.184.215.14"} {
		if a := s.Send(t.Context(), deliver.Target{URL: "http://" + host + "/"}, sample()); a.Status != http.StatusOK {
			t.Errorf("%s: %s", host, &a)
		}
	}
}
