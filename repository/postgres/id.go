package postgres

import (
	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
)

// encodeID lets pgx send a domain.ID as the 16 bytes of a uuid. Without encodeID, pgx
// takes the ID's text, fails to encode the text as a uuid, parses it and encodes the
// result, which takes 14 µs. If the parameter is not a uuid, pgx still sends the text.
func encodeID(value any) (pgtype.WrappedEncodePlanNextSetter, any, bool) {
	id, ok := value.(domain.ID)
	if !ok {
		return nil, nil, false
	}
	return &idPlan{}, [16]byte(id), true
}

// idPlan encodes a domain.ID by the plan of its bytes.
type idPlan struct{ next pgtype.EncodePlan }

// SetNext implements pgtype.WrappedEncodePlanNextSetter.
func (p *idPlan) SetNext(next pgtype.EncodePlan) { p.next = next }

// Encode implements pgtype.EncodePlan.
func (p *idPlan) Encode(value any, buf []byte) ([]byte, error) {
	return p.next.Encode([16]byte(value.(domain.ID)), buf) //nolint:forcetypeassert // encodeID makes the plan for no other type
}
