package postgres

import "outboxd/domain"

// UUIDs returns IDs as a parameter for pgx. It returns nil if there are no IDs.
func UUIDs(ids []domain.ID) [][16]byte {
	if len(ids) == 0 {
		return nil
	}
	list := make([][16]byte, len(ids))
	for i, id := range ids {
		list[i] = id
	}
	return list
}
