package stack

import (
	"regexp"
	"strings"

	"github.com/aws/aws-cdk-go/awscdk/v2/awsapigatewayv2"
	"github.com/aws/aws-cdk-go/awscdk/v2/awslambda"
	"github.com/aws/jsii-runtime-go"

	"lifeboat/internal/deployment"
)

// publicAPI is the HTTP API that people reach, made before the functions, which must know its address.
type publicAPI struct {
	api awsapigatewayv2.CfnApi
	url *string // where the links of mails lead
}

func (s *stack) makePublicAPI() {
	api := awsapigatewayv2.NewCfnApi(s.scope, str("Public"), &awsapigatewayv2.CfnApiProps{
		Name: str(s.options.Stack), ProtocolType: str("HTTP"), Description: str("lifeboat: links of mails, and the API for people"),
	})
	s.public = publicAPI{api: api, url: api.AttrApiEndpoint()}
	if public := s.options.LinksAt(); public != "" {
		s.public.url = str(public)
	}
}

// makeRoutes makes the stages and routes: the public API, where people are told apart by tokens if there is an issuer; and
// a second one with the same routes for machines, as a route has one way to tell who asks.
func (s *stack) makeRoutes() {
	public := s.stage("Public", s.public.api)
	for _, r := range deployment.OpenRoutes {
		s.route("Public", public, r, &awsapigatewayv2.CfnRouteProps{AuthorizationType: str("NONE")})
	}
	if jwt := s.jwt(); jwt != nil {
		for _, r := range deployment.ClosedRoutes {
			s.route("Public", public, r, &awsapigatewayv2.CfnRouteProps{
				AuthorizationType: str("JWT"), AuthorizerId: jwt.Ref(), AuthorizationScopes: strs(s.options.API.ScopePrefix + r.Scope),
			})
		}
	}
	api := awsapigatewayv2.NewCfnApi(s.scope, str("Machines"), &awsapigatewayv2.CfnApiProps{
		Name: str(s.options.Stack + "-machines"), ProtocolType: str("HTTP"), Description: str("lifeboat: the API for machines, by IAM"),
	})
	s.machinesURL = api.AttrApiEndpoint()
	machines := s.stage("Machines", api)
	for _, r := range deployment.ClosedRoutes {
		s.route("Machines", machines, r, &awsapigatewayv2.CfnRouteProps{AuthorizationType: str("AWS_IAM")})
	}
}

// jwt is the authorizer of people; nil where no issuer is named.
func (s *stack) jwt() awsapigatewayv2.CfnAuthorizer {
	if s.options.API.Issuer == "" {
		return nil
	}
	return awsapigatewayv2.NewCfnAuthorizer(s.scope, str("People"), &awsapigatewayv2.CfnAuthorizerProps{
		ApiId: s.public.api.Ref(), AuthorizerType: str("JWT"), Name: str("people"), IdentitySource: strs("$request.header.Authorization"),
		JwtConfiguration: &awsapigatewayv2.CfnAuthorizer_JWTConfigurationProperty{
			Issuer: str(s.options.API.Issuer), Audience: strs(s.options.API.Audience...),
		},
	})
}

// endpoint is an API with its integration.
type endpoint struct {
	api         awsapigatewayv2.CfnApi
	integration awsapigatewayv2.CfnIntegration
}

// accessLog is what is logged of a request: the route, never the path, in which a token may stand.
const accessLog = `{"request":"$context.requestId","time":"$context.requestTimeEpoch","ip":"$context.identity.sourceIp",` +
	`"route":"$context.routeKey","status":"$context.status","bytes":"$context.responseLength","ms":"$context.responseLatency",` +
	`"who":"$context.authorizer.claims.sub","caller":"$context.identity.userArn","error":"$context.error.message","integration":"$context.integrationErrorMessage"}`

func (s *stack) stage(id string, api awsapigatewayv2.CfnApi) endpoint {
	awsapigatewayv2.NewCfnStage(s.scope, str(id+"Stage"), &awsapigatewayv2.CfnStageProps{
		ApiId: api.Ref(), StageName: str("$default"), AutoDeploy: jsii.Bool(true),
		DefaultRouteSettings: &awsapigatewayv2.CfnStage_RouteSettingsProperty{
			ThrottlingRateLimit: jsii.Number(deployment.Rate), ThrottlingBurstLimit: jsii.Number(deployment.Burst), DetailedMetricsEnabled: jsii.Bool(true),
		},
		AccessLogSettings: &awsapigatewayv2.CfnStage_AccessLogSettingsProperty{
			// Under any other name API Gateway adds each group to a policy of the account's, which is soon full.
			DestinationArn: s.log(id+"Log", "/aws/vendedlogs/apis/"+s.options.Stack+"-"+id).LogGroupArn(), Format: str(accessLog),
		},
	})
	return endpoint{api, awsapigatewayv2.NewCfnIntegration(s.scope, str(id+"Integration"), &awsapigatewayv2.CfnIntegrationProps{
		ApiId: api.Ref(), IntegrationType: str("AWS_PROXY"), IntegrationUri: s.functions["api"].FunctionArn(), PayloadFormatVersion: str("2.0"),
		TimeoutInMillis: jsii.Number(30_000),
	})}
}

// variable is the part of a path that requests fill in, and what follows it.
var variable = regexp.MustCompile(`\{.*`)

// route makes a route, and lets the API invoke the function for it, and for nothing else.
func (s *stack) route(id string, e endpoint, r deployment.Route, props *awsapigatewayv2.CfnRouteProps) {
	method, path, _ := strings.Cut(r.Key, " ")
	var name strings.Builder
	name.WriteString(id + camel(strings.ToLower(method)))
	for segment := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		name.WriteString(camel(strings.Trim(segment, "{}")))
	}
	props.ApiId, props.RouteKey, props.Target = e.api.Ref(), str(r.Key), join(str("integrations/"), e.integration.Ref())
	awsapigatewayv2.NewCfnRoute(s.scope, str(name.String()), props)
	awslambda.NewCfnPermission(s.scope, str(name.String()+"Permission"), &awslambda.CfnPermissionProps{
		Action: str("lambda:InvokeFunction"), FunctionName: s.functions["api"].FunctionArn(), Principal: str("apigateway.amazonaws.com"),
		SourceArn: join(s.arn("execute-api", ""), e.api.Ref(), str("/*/"+method+variable.ReplaceAllString(path, "*"))),
	})
}
