package lost

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// slotCount is how many slots a Redis Cluster has.
const slotCount = 16384

// OwnTag is the hash tag of outboxd's own keys in Redis, such as that of the acknowledgements.
const OwnTag = "outboxd"

// Slots is a set of slots of a Redis Cluster. All tasks of a queue are in one slot.
type Slots [slotCount / 64]uint64

// SlotOf returns the slot of a hash tag, such as the name of a queue: the CRC16 checksum of the XMODEM kind, as the
// specification of Redis Cluster says.
func SlotOf(tag string) int {
	crc := uint16(0)
	for _, b := range []byte(tag) {
		crc ^= uint16(b) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return int(crc) % slotCount
}

// Add adds the slots from the first given number to the last. It ignores numbers that are no slots.
func (s *Slots) Add(first, last int) {
	for n := max(first, 0); n <= min(last, slotCount-1); n++ {
		s[n/64] |= 1 << (n % 64)
	}
}

// Has reports whether s has a slot.
func (s *Slots) Has(slot int) bool {
	return slot >= 0 && slot < slotCount && s[slot/64]&(1<<(slot%64)) != 0
}

// Len returns how many slots s has.
func (s *Slots) Len() (n int) {
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

func (s *Slots) addAll(of *Slots) {
	for i, word := range of {
		s[i] |= word
	}
}

// String returns the slots as ranges, such as "0-99,200". ParseSlots reads them again.
func (s *Slots) String() string {
	var ranges []string
	for n := 0; n < slotCount; n++ {
		if !s.Has(n) {
			continue
		}
		first := n
		for s.Has(n + 1) {
			n++
		}
		if first == n {
			ranges = append(ranges, strconv.Itoa(n))
		} else {
			ranges = append(ranges, fmt.Sprintf("%d-%d", first, n))
		}
	}
	return strings.Join(ranges, ",")
}

// ParseSlots reads what String wrote. ok is false if text is something else.
func ParseSlots(text string) (s Slots, ok bool) {
	if text == "" {
		return s, true
	}
	for part := range strings.SplitSeq(text, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		first, err := strconv.Atoi(from)
		last, err2 := strconv.Atoi(to)
		if err != nil || err2 != nil || first < 0 || last < first || last >= slotCount {
			return Slots{}, false
		}
		s.Add(first, last)
	}
	return s, true
}
