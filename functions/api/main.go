// Command api is the function that answers the links of mails, behind API Gateway.
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
		return api.New(api.Options{Links: s.Links, Records: s.Records, Vault: s.Vault, PublicURL: s.PublicURL, Log: slog.Default()})
	}))
}
