package servertest

import (
	"context"
	"sync"
	"testing"
)

// model is a database that is copied for each test.
type model struct {
	once sync.Once
	name string
	err  error
}

// Copy is like Database, but the database has the contents of a model. The first test of the binary that asks for a
// model of this name creates it: Copy calls the function fill with the model's URL. The function has to close its
// connections.
func Copy(t testing.TB, of string, fill func(ctx context.Context, address string) error) string {
	t.Helper()
	all := shared(t)
	m := all.model(of)
	m.once.Do(func() { m.err = m.make(t, fill) })
	if m.err != nil {
		t.Fatalf("make the model %s of test databases: %v", of, m.err)
	}
	admin, name, err := all.newDatabase(t.Context(), m.name)
	return handOut(t, admin, name, err)
}

func (s *servers) model(of string) *model {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.models[of]
	if m == nil {
		m = &model{}
		s.models[of] = m
	}
	return m
}

func (m *model) make(t testing.TB, fill func(ctx context.Context, address string) error) error {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	admin, name, err := shared(t).newDatabase(ctx, "template0")
	if err != nil {
		return err
	}
	m.name = name
	if err := fill(ctx, withQuery(t, withDatabase(t, admin, name), "search_path", Schema)); err != nil {
		return err
	}
	// Allow no connections, because PostgreSQL cannot copy a database that has any.
	return Exec(ctx, admin, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
}
