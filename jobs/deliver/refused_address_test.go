package deliver_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"outboxd/jobs/deliver"
)

func TestGuard(t *testing.T) {
	t.Parallel()
	guard := deliver.NewGuard()
	for _, refused := range []string{
		"127.0.0.1", "127.255.255.254", "::1", "0.0.0.0", "::", "0.1.2.3",
		"10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1",
		"169.254.169.254", "169.254.0.1", "fe80::1", "fe80::1%eth0",
		"100.64.0.1", "100.127.255.255", "224.0.0.1", "239.1.1.1", "ff02::1",
		"192.0.0.8", "198.18.0.1", "198.19.255.255", "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.51.100.1", "203.0.113.1",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0.0.0.0", "::127.0.0.1",
		"::ffff:0:127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::", "2002:c0a8:101::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",
		"2001:db8::1", "fec0::1", "100::1", "3fff::1", "5f00::1",
	} {
		if err := guard.Check(netip.MustParseAddr(refused)); !errors.Is(err, deliver.ErrRefusedAddress) {
			t.Errorf("%s: %v", refused, err)
		}
	}
	if err := guard.Check(netip.Addr{}); err == nil {
		t.Error("no address at all")
	}
	for _, public := range []string{
		"1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255",
		"2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
	} {
		if err := guard.Check(netip.MustParseAddr(public)); err != nil {
			t.Errorf("%s: %v", public, err)
		}
	}
}

func TestGuardRefusesWhatThisMachineHas(t *testing.T) {
	t.Parallel()
	guard := deliver.GuardOf(func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.ParseIP("8.8.4.4"), Mask: net.CIDRMask(24, 32)}}, nil
	})
	if err := guard.Check(netip.MustParseAddr("8.8.4.4")); !errors.Is(err, deliver.ErrRefusedAddress) {
		t.Errorf("a public address of this machine: %v", err)
	}
	if err := guard.Check(netip.MustParseAddr("8.8.4.5")); err != nil {
		t.Errorf("its neighbour: %v", err)
	}
	blind := deliver.GuardOf(func() ([]net.Addr, error) { return nil, errors.New("no") })
	if err := blind.Check(netip.MustParseAddr("8.8.4.5")); err == nil {
		t.Error("it does not know which addresses are its own, and takes one")
	}
}

func TestGuardAllows(t *testing.T) {
	t.Parallel()
	guard := deliver.NewGuard(netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8"))
	for address, allowed := range map[string]bool{
		"10.1.2.3": true, "::ffff:10.1.2.3": true, "10.2.0.1": false, "fd00::1": true, "fc00::1": false, "127.0.0.1": false,
	} {
		if err := guard.Check(netip.MustParseAddr(address)); (err == nil) != allowed {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// Whatever a URL calls this machine, nothing connects to it.
func TestNothingIsSentToThisMachine(t *testing.T) {
	t.Parallel()
	server := newReceiver(t, nil)
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s := deliver.NewSender(deliver.SenderOptions{Guard: deliver.NewGuard()})
	t.Cleanup(s.Close)
	for _, host := range []string{"127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "[::]", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[64:ff9b::7f00:1]"} {
		a := s.Send(t.Context(), deliver.Target{URL: "http://" + host + ":" + port}, sample())
		if a.Outcome != deliver.Repeat || a.Status != 0 {
			t.Errorf("%s: %+v", host, a)
		}
		if host == "127.0.0.1" && (!errors.Is(a.Err, deliver.ErrRefusedAddress) || !strings.Contains(a.String(), "--deliver-allow=127.0.0.1/32")) {
			t.Errorf("%s", a.String())
		}
	}
	if len(server.got()) > 0 {
		t.Errorf("this machine got %d deliveries", len(server.got()))
	}
}

// The guard also checks the address of the connection itself, so it does not rely on an
// earlier look-up of the name.
func TestTheConnectionIsChecked(t *testing.T) {
	t.Parallel()
	if err := deliver.Control(deliver.NewGuard(), "127.0.0.1:80"); !errors.Is(err, deliver.ErrRefusedAddress) {
		t.Errorf("%v", err)
	}
	if err := deliver.Control(deliver.NewGuard(), "/var/run/docker.sock"); !errors.Is(err, deliver.ErrRefusedAddress) {
		t.Errorf("%v", err)
	}
	if err := deliver.Control(here(), "127.0.0.1:80"); err != nil {
		t.Errorf("%v", err)
	}
}
