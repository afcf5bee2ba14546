// Command orders is a small service that uses outboxd. The service writes an order
// and its event in one transaction, and an invoice and the confirmation of the event
// in another one.
//
// The service takes orders at POST /orders?customer=ann&cents=700 and bills them:
//
//	DATABASE_URL=postgres://… REDIS_URL=redis://… go run .
package main

import (
	"context"
	"errors"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"time"

	"github.com/hibiken/asynq"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx)
	stop()
	if err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	db, err := gorm.Open(postgres.Open(os.Getenv("DATABASE_URL")))
	if err != nil {
		return err
	}
	if err := db.AutoMigrate(&Order{}, &Invoice{}); err != nil {
		return err
	}
	redis, err := asynq.ParseRedisURI(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	server := &http.Server{Addr: "127.0.0.1:8080", Handler: routes(db), ReadHeaderTimeout: 10 * time.Second}
	ctx, stop := context.WithCancelCause(ctx)
	go func() { stop(server.ListenAndServe()) }()
	err = errors.Join(Work(ctx, db, redis), server.Close())
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, http.ErrServerClosed) {
		err = errors.Join(err, cause)
	}
	return err
}

func routes(db *gorm.DB) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		cents, err := strconv.ParseInt(r.FormValue("cents"), 10, 64)
		if err != nil {
			http.Error(w, "cents must be a number", http.StatusUnprocessableEntity)
			return
		}
		order := Order{Customer: r.FormValue("customer"), Cents: cents}
		if err := Pay(r.Context(), db, &order); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	return mux
}
