package lambdafn

import (
	"context"

	"github.com/aws/aws-lambda-go/events"
)

type callerKey struct{}

// Caller returns whom the authorizer of API Gateway has found behind a request: the ARN of a role or user, or of a
// person with a token the address where the issuer has verified it, or else the subject. It is "" on a route that is
// open: no client can make it say anything, since it comes from the event and not from the request.
func Caller(ctx context.Context) string {
	who, _ := ctx.Value(callerKey{}).(string)
	return who
}

// maxCaller bounds what records keep of a caller, in bytes.
const maxCaller = 256

func withCaller(ctx context.Context, a *events.APIGatewayV2HTTPRequestContextAuthorizerDescription) context.Context {
	who := callerOf(a)
	if len(who) > maxCaller {
		who = who[:maxCaller]
	}
	return context.WithValue(ctx, callerKey{}, who)
}

func callerOf(a *events.APIGatewayV2HTTPRequestContextAuthorizerDescription) string {
	switch {
	case a == nil:
		return ""
	case a.IAM != nil:
		return a.IAM.UserARN
	case a.JWT == nil:
		return ""
	}
	claims := a.JWT.Claims
	if claims["email"] != "" && claims["email_verified"] == "true" {
		return claims["email"]
	}
	if claims["sub"] != "" {
		return claims["sub"]
	}
	return claims["client_id"] // a machine with a token of its own
}
