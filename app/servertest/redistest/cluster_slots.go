package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"outboxd/app/servertest"
)

// MoveSlot moves the hash slot of a key, with all keys in that slot, from one
// master to another.
func (c *Cluster) MoveSlot(key string, from, to *Program) {
	c.t.Helper()
	if err := errors.Join(c.BeginMove(key, from, to), c.EndMove(key, from, to)); err != nil {
		c.t.Fatal(err)
	}
}

// movedKeys is how many keys MIGRATE moves at once.
const movedKeys = 100

// BeginMove begins to move the hash slot of a key, and moves up to movedKeys keys in that slot.
func (c *Cluster) BeginMove(key string, from, to *Program) error {
	slot, err := c.ask(from, "CLUSTER", "KEYSLOT", key)
	if err != nil {
		return err
	}
	source, err := c.ask(from, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	target, err := c.ask(to, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if _, err := c.ask(to, "CLUSTER", "SETSLOT", slot, "IMPORTING", source); err != nil {
		return err
	}
	if _, err := c.ask(from, "CLUSTER", "SETSLOT", slot, "MIGRATING", target); err != nil {
		return err
	}
	_, err = c.moveKeys(slot, from, to)
	return err
}

// EndMove moves the other keys, and tells all masters who has the slot now.
func (c *Cluster) EndMove(key string, from, to *Program) error {
	slot, err := c.ask(from, "CLUSTER", "KEYSLOT", key)
	if err != nil {
		return err
	}
	for more := true; more; {
		if more, err = c.moveKeys(slot, from, to); err != nil {
			return err
		}
	}
	return c.give(slot, to)
}

// moveKeys moves some keys. It reports whether there may be more.
func (c *Cluster) moveKeys(slot any, from, to *Program) (more bool, err error) {
	answer, err := c.ask(from, "CLUSTER", "GETKEYSINSLOT", slot, movedKeys)
	if err != nil {
		return false, err
	}
	keys, _ := answer.([]any)
	if len(keys) == 0 {
		return false, nil
	}
	_, err = c.ask(from, append([]any{"MIGRATE", "127.0.0.1", to.Port, "", 0, 5000, "KEYS"}, keys...)...)
	return true, err
}

// give tells all masters that run who has a slot, the new master first. A replica learns it from its master.
func (c *Cluster) give(slot any, to *Program) error {
	id, err := c.ask(to, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	if _, err := c.ask(to, "CLUSTER", "SETSLOT", slot, "NODE", id); err != nil {
		return err
	}
	for _, master := range c.mastersNow() {
		if _, err := c.ask(master, "CLUSTER", "SETSLOT", slot, "NODE", id); err != nil {
			return err
		}
	}
	return nil
}

// Nodes returns all nodes.
func (c *Cluster) Nodes() []*Program { return slices.Concat(c.Masters, c.Replicas) }

// mastersNow returns the nodes that run and say that they are masters.
func (c *Cluster) mastersNow() (masters []*Program) {
	for _, node := range c.Nodes() {
		if node.child == nil {
			continue
		}
		if role, err := c.ask(node, "INFO", "replication"); err == nil && strings.Contains(fmt.Sprint(role), "role:master") {
			masters = append(masters, node)
		}
	}
	return masters
}

// HolderOf returns the master that says that it has the slot of a key, and the other masters with slots. owner is nil
// if no master says that it has the slot, or if several masters say so.
func (c *Cluster) HolderOf(key string) (owner *Program, others []*Program) {
	owners := 0
	for _, master := range c.mastersNow() {
		slot, err := c.ask(master, "CLUSTER", "KEYSLOT", key)
		if err != nil {
			continue
		}
		n, _ := slot.(int64)
		id, first := c.ownerIn(master, n)
		own, failure := c.ask(master, "CLUSTER", "MYID")
		switch {
		case failure != nil:
		case id == fmt.Sprint(own):
			owner = master
			owners++
		case first:
			others = append(others, master)
		}
	}
	if owners != 1 {
		return nil, others
	}
	return owner, others
}

// ownerIn returns the ID of the master that has a slot, as a node says, and whether that node has any slots.
func (c *Cluster) ownerIn(node *Program, slot int64) (id string, hasSlots bool) {
	answer, err := c.ask(node, "CLUSTER", "SLOTS")
	own, err2 := c.ask(node, "CLUSTER", "MYID")
	if err != nil || err2 != nil {
		return "", false
	}
	ranges, _ := answer.([]any)
	for _, one := range ranges {
		r, _ := one.([]any)
		if len(r) < 3 {
			continue
		}
		first, _ := r[0].(int64)
		last, _ := r[1].(int64)
		master, _ := r[2].([]any)
		if len(master) < 3 {
			continue
		}
		hasSlots = hasSlots || fmt.Sprint(master[2]) == fmt.Sprint(own)
		if first <= slot && slot <= last {
			id = fmt.Sprint(master[2])
		}
	}
	return id, hasSlots
}

// Mend ends what an interrupted move of the slots of these keys has left, as an operator
// does with redis-cli --cluster fix. Mend waits until all nodes run as one cluster. If two
// nodes have the same key, Mend keeps the one on the slot's master.
func (c *Cluster) Mend(keys ...string) {
	c.t.Helper()
	for deadline := time.Now().Add(2 * servertest.Patience); ; <-time.After(50 * time.Millisecond) {
		var errs []error
		for _, key := range keys {
			errs = append(errs, c.MendSlot(key))
		}
		err := errors.Join(append(errs, c.whole())...)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("mend the cluster: %v", err)
		}
	}
}

// MendSlot does for one key what Mend does. MendSlot does not wait: it returns an error if
// it cannot mend the slot now, for example because no running node has the slot.
func (c *Cluster) MendSlot(key string) error {
	masters := c.mastersNow()
	if len(masters) == 0 {
		return errors.New("no node is a master")
	}
	slot, err := c.ask(masters[0], "CLUSTER", "KEYSLOT", key)
	if err != nil {
		return err
	}
	owner, others := c.HolderOf(key)
	if owner == nil {
		if len(others) < len(c.Masters) {
			return fmt.Errorf("not all masters run, and nobody has the slot of %s", key)
		}
		owner = others[0]
		for _, master := range others { // each believes that another master has the slot
			_, _ = c.ask(master, "CLUSTER", "DELSLOTS", slot)
		}
		_, _ = c.ask(owner, "CLUSTER", "ADDSLOTS", slot)
		_, _ = c.ask(owner, "CLUSTER", "BUMPEPOCH")
	}
	for _, master := range masters {
		if _, err := c.ask(master, "CLUSTER", "SETSLOT", slot, "STABLE"); err != nil {
			return err
		}
	}
	// Move the keys only after SETSLOT STABLE: an owner that still moves the slot away takes no key, and answers ASK.
	for _, master := range masters {
		if master != owner {
			if err := c.bringHome(slot, master, owner); err != nil {
				return err
			}
		}
	}
	return c.give(slot, owner)
}

// bringHome moves the keys of a slot from a master that does not have the slot to the master that has it.
func (c *Cluster) bringHome(slot any, from, to *Program) error {
	answer, err := c.ask(from, "CLUSTER", "GETKEYSINSLOT", slot, 1_000_000)
	keys, _ := answer.([]any)
	if err != nil || len(keys) == 0 {
		return err
	}
	owner, err := c.ask(to, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	// A master answers commands for a slot that it does not have only while it imports the slot.
	if _, err := c.ask(from, "CLUSTER", "SETSLOT", slot, "IMPORTING", owner); err != nil {
		return err
	}
	for _, key := range keys {
		_, err := c.ask(from, "MIGRATE", "127.0.0.1", to.Port, key, 0, 5000)
		if err != nil && strings.Contains(err.Error(), "BUSYKEY") {
			err = c.drop(from, key)
		}
		if err != nil {
			return err
		}
	}
	_, err = c.ask(from, "CLUSTER", "SETSLOT", slot, "STABLE")
	return err
}

// drop deletes a key on a master that imports its slot.
func (c *Cluster) drop(node *Program, key any) error {
	client := redis.NewClient(&redis.Options{Addr: node.Address(), Protocol: 2, MaxRetries: -1})
	defer func() { _ = client.Close() }()
	ctx := context.WithoutCancel(c.t.Context())
	_, err := client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Do(ctx, "ASKING")
		pipe.Do(ctx, "DEL", key)
		return nil
	})
	return err
}

// whole returns nil if all nodes run, agree on the slots, and every replica has its master's data.
func (c *Cluster) whole() error {
	var seen []string
	for _, node := range c.Nodes() {
		state, err := c.ask(node, "CLUSTER", "INFO")
		if err != nil {
			return err
		}
		role, err := c.ask(node, "INFO", "replication")
		if err != nil {
			return err
		}
		text := fmt.Sprint(role)
		if !strings.Contains(text, "role:master") && !strings.Contains(text, "master_link_status:up") {
			return fmt.Errorf("%s has no data of its master yet", node.Address())
		}
		for _, want := range []string{"cluster_slots_ok:16384", "cluster_state:ok"} {
			if !strings.Contains(fmt.Sprint(state), want) {
				return fmt.Errorf("%s says\n%v", node.Address(), state)
			}
		}
		view, err := c.view(node)
		if err != nil {
			return err
		}
		seen = append(seen, view)
	}
	if slices.Sort(seen); len(slices.Compact(seen)) != 1 {
		return errors.New("the nodes do not agree who has which slots")
	}
	return nil
}

// view returns who has which slots, as a node says.
func (c *Cluster) view(node *Program) (string, error) {
	answer, err := c.ask(node, "CLUSTER", "SLOTS")
	if err != nil {
		return "", err
	}
	ranges, _ := answer.([]any)
	var lines []string
	for _, one := range ranges {
		if r, _ := one.([]any); len(r) > 2 {
			if master, _ := r[2].([]any); len(master) > 2 {
				lines = append(lines, fmt.Sprint(r[0], r[1], master[2]))
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, " "), nil
}
