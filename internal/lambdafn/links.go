package lambdafn

import (
	"context"
	"encoding/json"
	"net/http"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/keyring"
	"lifeboat/internal/link"
	"lifeboat/internal/vault"
)

// Service is what the API works with.
type Service struct {
	Links     *link.Service
	Records   *catalog.Catalog
	Vault     *vault.Vault
	PublicURL string
	Starter   *Starter // nil: the function knows no state machines
}

// API returns the Handler of an HTTP API that serve makes, at the first request.
func (w *World) API(serve func(Service) (http.Handler, error)) Handler {
	return func(ctx context.Context, message []byte) (json.RawMessage, error) {
		open, err := w.open(ctx)
		if err != nil {
			return nil, err
		}
		handler, err := open.api.get(func() (http.Handler, error) {
			service, err := open.service(ctx)
			if err != nil {
				return nil, err
			}
			return serve(service)
		})
		if err != nil {
			return nil, err
		}
		return HTTP(handler)(ctx, message)
	}
}

func (w *warm) service(ctx context.Context) (Service, error) {
	err := w.known(ctx, keyring.Key{})
	if err != nil && failure.KindOf(err) != failure.NotFound { // the first backup, which makes the vault, may be asked for here
		return Service{}, err
	}
	key, err := w.linkKey()
	if err != nil {
		return Service{}, err
	}
	starter, err := w.starter()
	return Service{
		Links:   &link.Service{Vault: w.vault, Key: key},
		Records: catalog.New(w.vault), Vault: w.vault, PublicURL: w.environment.PublicURL, Starter: starter,
	}, err
}
