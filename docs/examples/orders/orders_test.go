package main

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"

	"outboxd/client/outboxtest"
)

func open(t *testing.T, o *outboxtest.Outboxd) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(postgres.New(postgres.Config{Conn: o.DB(t)}))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.AutoMigrate(&Order{}, &Invoice{}); err != nil {
		t.Fatal(err)
	}
	return db
}

func TestAnOrderIsAnnouncedInItsTransaction(t *testing.T) {
	t.Parallel()
	db := open(t, outboxtest.Start(t))
	undo := errors.New("undo")
	err := db.Transaction(func(tx *gorm.DB) error {
		if err := Pay(t.Context(), tx, &Order{Customer: "ann", Cents: 700}); err != nil {
			return err
		}
		event := outboxtest.RequireEmitted(t, tx.Statement.ConnPool, orderPaid)
		if event.OrderingKey != "ann" || event.Payload.Cents != 700 || event.Payload.ID == 0 {
			t.Errorf("%+v was emitted", event)
		}
		return undo
	})
	if !errors.Is(err, undo) {
		t.Fatal(err)
	}
}

func TestEveryOrderIsBilledOnce(t *testing.T) {
	t.Parallel()
	o := outboxtest.Start(t)
	db := open(t, o)
	ctx, stop := context.WithCancel(t.Context())
	var working sync.WaitGroup
	working.Go(func() {
		if err := Work(ctx, db, o.Redis(t)); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { stop(); working.Wait() })
	for range 20 {
		w := httptest.NewRecorder()
		routes(db).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/orders?customer=ann&cents=700", nil))
		if w.Code != http.StatusCreated {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
	}
	o.Drain(t)
	var invoices int64
	if err := db.Model(&Invoice{}).Where("cents = 700").Count(&invoices).Error; err != nil || invoices != 20 {
		t.Errorf("%d invoices of 20 orders, %v", invoices, err)
	}
}
