package confirm

import (
	"context"
	"encoding/json"
	"fmt"

	"outboxd/domain"
)

var _ domain.Followers = effects{}

const followSQL = `SELECT owner, id, payload, headers FROM outbox_follow($1::uuid[], $2, $3, $4)`

// Follow implements domain.Followers. A transaction may call Follow once.
func (e effects) Follow(ctx context.Context, owners []domain.ID, eventType, queue string, most int) (list []domain.Follower, err error) {
	if !e.held || most <= 0 {
		return nil, nil
	}
	rows, err := e.Tx().QueryContext(ctx, followSQL, texts(owners), eventType, queue, most)
	if err != nil {
		return nil, fmt.Errorf("look for the next events of ordering keys: %w", err)
	}
	defer rows.Close()
	var ids []domain.ID
	for rows.Next() {
		var f domain.Follower
		var headers []byte
		if err := rows.Scan(&f.Owner, &f.ID, &f.Payload, &headers); err != nil {
			return nil, fmt.Errorf("read the next event of an ordering key: %w", err)
		}
		if err := json.Unmarshal(headers, &f.Headers); err != nil {
			return nil, fmt.Errorf("read the headers of event %s: %w", f.ID, err)
		}
		list, ids = append(list, f), append(ids, f.ID)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("look for the next events of ordering keys: %w", err)
	}
	if ids != nil {
		e.last(`SELECT outbox_end_run($1::uuid[])`, texts(ids))
	}
	return list, nil
}

func texts(ids []domain.ID) []string {
	list := make([]string, len(ids))
	for i, id := range ids {
		list[i] = id.String()
	}
	return list
}
