package postgres

import (
	"testing"

	"github.com/jackc/pgx/v5/pgtype"

	"outboxd/domain"
)

// pgx encodes an ID from its bytes if the parameter is a uuid, and as text if the
// parameter is a text or its type is not known.
func TestIDsAreSentAsBytes(t *testing.T) {
	t.Parallel()
	id := domain.ID{1, 2, 3, 15: 16}
	types := pgtype.NewMap()
	nameTypes(types)
	for _, test := range []struct {
		name   string
		oid    uint32
		format int16
		want   string
	}{
		{"uuid", pgtype.UUIDOID, pgtype.BinaryFormatCode, string(id[:])},
		{"uuid as text", pgtype.UUIDOID, pgtype.TextFormatCode, id.String()},
		{"text", pgtype.TextOID, pgtype.BinaryFormatCode, id.String()},
		{"text as text", pgtype.TextOID, pgtype.TextFormatCode, id.String()},
		{"not known", 0, pgtype.TextFormatCode, id.String()},
	} {
		got, err := types.Encode(test.oid, test.format, id, nil)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
		}
	}
	if _, own := types.PlanEncode(pgtype.UUIDOID, pgtype.BinaryFormatCode, id).(*idPlan); !own {
		t.Error("pgx encodes an ID by way of its text")
	}
}
