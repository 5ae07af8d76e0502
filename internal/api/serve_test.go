package api_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"lifeboat/internal/api"
)

func TestServe(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	entered, leave := make(chan struct{}), make(chan struct{})
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-leave
		if err := r.Context().Err(); err != nil {
			t.Errorf("a running request was canceled: %v", err)
		}
		_, _ = io.WriteString(w, "done")
	})
	served := make(chan error, 1)
	go func() { served <- api.Serve(ctx, listener, handler) }()
	got := make(chan string, 1)
	go func() {
		answer, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			got <- err.Error()
			return
		}
		defer answer.Body.Close()
		body, _ := io.ReadAll(answer.Body)
		got <- string(body)
	}()
	<-entered
	cancel()
	close(leave)
	if body := <-got; body != "done" {
		t.Errorf("the running request got %q", body)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if err := api.Serve(t.Context(), listener, handler); err == nil || errors.Is(err, http.ErrServerClosed) {
		t.Errorf("a closed listener: %v", err)
	}
}
