package cloud

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Caller is who sends a request to an API. The zero value is anybody.
type Caller struct {
	Scopes []string // of a token of the issuer that the stack names
	Email  string
	IAM    string // ARN of a role of the account that signs its requests and may invoke the API
}

// Answer is what a client gets.
type Answer struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       string            `json:"body"`
	Encoded    bool              `json:"isBase64Encoded"`
}

// Ask sends a request to the HTTP API that an address names: API Gateway looks for the route, asks its authorizer, and
// invokes the function of its integration, as far as the function's policy lets it.
func (c *Cloud) Ask(ctx context.Context, who Caller, method, address, body string, header http.Header) (Answer, error) {
	u, err := url.Parse(address)
	if err != nil {
		return Answer{}, err
	}
	api := c.apiAt(u.Host)
	if api == "" {
		return Answer{}, fmt.Errorf("no API is at %s", u.Host)
	}
	route, parameters := c.route(api, method, u.Path)
	if route == nil {
		return Answer{StatusCode: http.StatusNotFound, Body: `{"message":"Not Found"}`}, nil
	}
	authorizer, status := c.authorize(route, who)
	if status != 0 {
		return Answer{StatusCode: status}, nil
	}
	key := text(route, "RouteKey")
	f, version := c.integration(text(route, "Target"))
	_, path, _ := strings.Cut(key, " ")
	if f == nil || !c.permitted(f, "apigateway.amazonaws.com", arn("execute-api", api+"/$default/"+method+path)) {
		return Answer{StatusCode: http.StatusInternalServerError}, nil
	}
	headers := map[string]string{"host": u.Host}
	for name, values := range header {
		headers[strings.ToLower(name)] = strings.Join(values, ",")
	}
	event := map[string]any{
		"version": version, "routeKey": key, "rawPath": u.EscapedPath(), "rawQueryString": u.RawQuery, "headers": headers, "pathParameters": parameters,
		"requestContext": map[string]any{
			"accountId": Account, "apiId": api, "domainName": u.Host, "requestId": "JKJaXmPLvHcESHA=", "routeKey": key, "stage": "$default",
			"authorizer": authorizer, "timeEpoch": time.Now().UnixMilli(),
			"http": map[string]any{"method": method, "path": u.Path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.7", "userAgent": "test"},
		},
		"body": body, "isBase64Encoded": false,
	}
	payload, err := json.Marshal(event)
	if err != nil {
		return Answer{}, err
	}
	raw, err := c.invoke(ctx, f, payload)
	if err != nil {
		return Answer{StatusCode: http.StatusBadGateway, Body: err.Error()}, nil
	}
	var answer Answer
	return answer, json.Unmarshal(raw, &answer)
}

// Endpoint is the address of an API of the template, by its id.
func (c *Cloud) Endpoint(id string) string { return c.resolver.attribute(id, "ApiEndpoint") }

// apiAt is the name of the API at a host, if it has a stage that answers there.
func (c *Cloud) apiAt(host string) string {
	for _, id := range c.Template.Of("AWS::ApiGatewayV2::Api") {
		if hostOf(c.resolver.attribute(id, "ApiEndpoint")) != host {
			continue
		}
		for _, stage := range c.Template.Of("AWS::ApiGatewayV2::Stage") {
			if p := c.properties(stage); text(p, "ApiId") == c.resolver.name(id) && text(p, "StageName") == "$default" {
				return c.resolver.name(id)
			}
		}
	}
	return ""
}

// route is the route of a request, with what stands for its variables.
func (c *Cloud) route(api, method, path string) (map[string]any, map[string]string) {
	for _, id := range c.Template.Of("AWS::ApiGatewayV2::Route") {
		p := c.properties(id)
		of, pattern, _ := strings.Cut(text(p, "RouteKey"), " ")
		if text(p, "ApiId") != api || of != method {
			continue
		}
		if parameters, ok := matchPath(pattern, path); ok {
			return p, parameters
		}
	}
	return nil, nil
}

func matchPath(pattern, path string) (map[string]string, bool) {
	want, got := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(want) != len(got) {
		return nil, false
	}
	parameters := map[string]string{}
	for n := range want {
		if strings.HasPrefix(want[n], "{") && got[n] != "" {
			parameters[strings.Trim(want[n], "{}")] = got[n]
		} else if want[n] != got[n] {
			return nil, false
		}
	}
	return parameters, true
}

// authorize asks the authorizer of a route; status is what a request is refused with.
func (c *Cloud) authorize(route map[string]any, who Caller) (authorizer map[string]any, status int) {
	switch kind := text(route, "AuthorizationType"); kind {
	case "NONE":
		return nil, 0
	case "AWS_IAM":
		if who.IAM == "" {
			return nil, http.StatusForbidden
		}
		return map[string]any{"iam": map[string]any{"userArn": who.IAM, "accountId": Account, "accessKey": "AKIAEXAMPLE"}}, 0
	case "JWT":
		if who.Email == "" {
			return nil, http.StatusUnauthorized
		}
		if !slices.ContainsFunc(strs(route["AuthorizationScopes"]), func(scope string) bool { return slices.Contains(who.Scopes, scope) }) {
			return nil, http.StatusForbidden
		}
		claims := map[string]string{"sub": "u-1", "email": who.Email, "email_verified": "true"}
		return map[string]any{"jwt": map[string]any{"claims": claims, "scopes": who.Scopes}}, 0
	default:
		c.access.refuse("a route has the authorizer " + kind)
		return nil, http.StatusInternalServerError
	}
}

// integration is the function behind a route.
func (c *Cloud) integration(target string) (*Function, string) {
	for _, id := range c.Template.Of("AWS::ApiGatewayV2::Integration") {
		if p := c.properties(id); target == "integrations/"+c.resolver.name(id) && text(p, "IntegrationType") == "AWS_PROXY" {
			return c.functions[text(p, "IntegrationUri")], text(p, "PayloadFormatVersion")
		}
	}
	return nil, ""
}
