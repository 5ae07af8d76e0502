// Command api is the function that answers the links of mails and the HTTP API, behind API Gateway.
package main

import (
	"log/slog"
	"net/http"

	"lifeboat/internal/api"
	"lifeboat/internal/lambdafn"
)

func main() {
	world := lambdafn.NewWorld("api")
	lambdafn.Start("api", world.API(func(s lambdafn.Service) (http.Handler, error) {
		options := api.Options{
			Links: s.Links, Records: s.Records, Vault: s.Vault, PublicURL: s.PublicURL, Log: slog.Default(),
			Restores: s.Records, Who: func(r *http.Request) string { return lambdafn.Caller(r.Context()) },
		}
		if s.Starter != nil {
			options.Starter = s.Starter
		}
		return api.New(options)
	}))
}
