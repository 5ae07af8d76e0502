package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"lifeboat/internal/lambdafn/deployed"
)

// TestBuckets holds both buckets to what the vault promises.
func TestBuckets(t *testing.T) {
	for _, id := range made.of("AWS::S3::Bucket") {
		b := made.Resources[id]
		p := b.Properties
		for _, block := range []string{"BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"} {
			if at(p, "PublicAccessBlockConfiguration", block) != true {
				t.Errorf("%s: %s is not on", id, block)
			}
		}
		if text(at(p, "VersioningConfiguration", "Status")) != "Enabled" {
			t.Errorf("%s keeps no versions", id)
		}
		if text(list(at(p, "OwnershipControls", "Rules"))[0]) != "ObjectOwnership=BucketOwnerEnforced" {
			t.Errorf("%s has access lists", id)
		}
		if b.DeletionPolicy != "Retain" || b.UpdateReplacePolicy != "Retain" {
			t.Errorf("%s does not outlive the stack", id)
		}
		if p["BucketName"] != nil {
			t.Errorf("%s has a name of its own, which somebody else may have", id)
		}
		if !slices.ContainsFunc(list(at(p, "LifecycleConfiguration", "Rules")), func(r any) bool {
			return text(at(r, "AbortIncompleteMultipartUpload", "DaysAfterInitiation")) == "1"
		}) {
			t.Errorf("%s keeps uploads that nobody completes", id)
		}
		for _, condition := range []string{" if aws:SecureTransport Bool false", " if s3:TlsVersion NumericLessThan 1.2"} {
			if !slices.ContainsFunc(made.resourcePolicies(), func(s statement) bool {
				return s.holder == plainID(id)+"Policy" && s.effect == "Deny" && slices.Equal(s.actions, []string{"s3:*"}) && len(s.resources) == 2 && s.conditions == condition
			}) {
				t.Errorf("%s has no rule%s", id, condition)
			}
		}
	}
}

func TestVault(t *testing.T) {
	p := made.one("AWS::S3::Bucket", "Vault").Properties
	rule := list(at(p, "BucketEncryption", "ServerSideEncryptionConfiguration"))[0]
	if at(rule, "BucketKeyEnabled") != true || text(at(rule, "ServerSideEncryptionByDefault", "SSEAlgorithm")) != "aws:kms" ||
		text(at(rule, "ServerSideEncryptionByDefault", "KMSMasterKeyID")) != "${Key.Arn}" {
		t.Errorf("the vault is encrypted by %s", text(rule))
	}
	if got := text(at(p, "LoggingConfiguration", "DestinationBucketName")); got != "${AccessLogs}" {
		t.Errorf("its access logs go to %s", got)
	}
	key := made.one("AWS::KMS::Key", "Key")
	if key.Properties["EnableKeyRotation"] != true || key.DeletionPolicy != "Retain" || text(key.Properties["PendingWindowInDays"]) != "30" {
		t.Error("the key is not rotated, or goes too easily")
	}
	for _, id := range made.of("AWS::SecretsManager::Secret") {
		if made.Resources[id].DeletionPolicy != "Retain" {
			t.Errorf("%s goes with the stack", id)
		}
	}
	for _, s := range made.grants() {
		for _, action := range s.actions {
			if slices.Contains([]string{"s3:DeleteObjectVersion", "s3:BypassGovernanceRetention", "s3:PutLifecycleConfiguration", "s3:PutBucketPolicy", "kms:ScheduleKeyDeletion"}, action) {
				t.Errorf("%s may do %s", s.holder, action)
			}
		}
	}
}

// TestLifecycle: the backstop comes after prune, and only where an archive expires at all.
func TestLifecycle(t *testing.T) {
	expiry := map[string]string{}
	for _, r := range list(at(made.one("AWS::S3::Bucket", "Vault").Properties, "LifecycleConfiguration", "Rules")) {
		if days := at(r, "ExpirationInDays"); days != nil {
			expiry[text(at(r, "Prefix"))] = text(days)
		}
	}
	if len(expiry) != 3 || expiry["archives/photos/"] != "60" || expiry["incoming/"] != "7" || expiry["drills/"] != "7" {
		t.Errorf("what expires: %v", expiry)
	}
}

// TestLock: the bucket can lock versions and locks none by itself; the function that seals does, for as long and in the mode
// that was asked for; old versions outlive their locks, and no lock is longer than a seal makes one. Where nothing is said,
// nobody may lock anything.
func TestLock(t *testing.T) {
	says := func(made template) string {
		p := made.one("AWS::S3::Bucket", "Vault").Properties
		if p["ObjectLockConfiguration"] != nil {
			t.Errorf("the bucket locks by itself: %s", text(p["ObjectLockConfiguration"]))
		}
		longest := "any"
		for _, s := range made.resourcePolicies() {
			days, ok := strings.CutPrefix(s.conditions, " if s3:object-lock-remaining-retention-days NumericGreaterThan ")
			if ok && s.holder == "VaultPolicy" && s.effect == "Deny" && slices.Equal(s.actions, []string{"s3:PutObjectRetention"}) && slices.Equal(s.resources, []string{"${Vault.Arn}/*"}) {
				longest = days
			}
		}
		old := ""
		for _, r := range list(at(p, "LifecycleConfiguration", "Rules")) {
			if days := at(r, "NoncurrentVersionExpiration", "NoncurrentDays"); days != nil && at(r, "Prefix") == nil {
				old = text(days)
			}
		}
		var lockers []string
		for _, s := range made.grants() {
			for _, action := range s.actions {
				if strings.Contains(action, "Retention") || strings.Contains(action, "LegalHold") {
					lockers = append(lockers, s.holder+" "+action)
				}
			}
		}
		slices.Sort(lockers)
		function := made.one("AWS::Lambda::Function", "Package").Properties
		return fmt.Sprintf("%v, %v, longest %s, old %s: %s", p["ObjectLockEnabled"], at(function, "Environment", "Variables", "LIFEBOAT_IMMUTABILITY"),
			longest, old, strings.Join(slices.Compact(lockers), ", "))
	}
	const who = "ExportRole s3:GetObjectRetention, PackageRole s3:GetObjectRetention, PackageRole s3:PutObjectRetention"
	for _, c := range []struct{ immutability, want string }{
		{"30d governance", "true, 30d governance, longest 34, old 30: " + who},
		{"90d compliance", "true, 90d compliance, longest 100, old 30: " + who},
		{"1d governance", "true, 1d governance, longest 3, old 30: " + who},
		{"", "<nil>, <nil>, longest any, old 30: "},
	} {
		of := made
		switch {
		case c.immutability == "":
			of = variant(t, func(text string) string { return strings.Replace(text, "  immutability: 30d governance\n", "", 1) })
		case c.immutability != "30d governance":
			of = variant(t, func(text string) string { return strings.Replace(text, "30d governance", c.immutability, 1) })
		}
		if got := says(of); got != c.want {
			t.Errorf("%q: %s\nwant %s", c.immutability, got, c.want)
		}
	}
}

// TestMACs: a key that never leaves KMS makes the MACs of manifests for the function that seals, and lets those that read
// backups check them.
func TestMACs(t *testing.T) {
	key := made.one("AWS::KMS::Key", "MacKey")
	if p := key.Properties; text(p["KeySpec"]) != "HMAC_256" || text(p["KeyUsage"]) != "GENERATE_VERIFY_MAC" || p["EnableKeyRotation"] != nil ||
		key.DeletionPolicy != "Retain" || key.UpdateReplacePolicy != "Retain" || text(p["PendingWindowInDays"]) != "30" {
		t.Errorf("%+v", key)
	}
	var may []string
	for _, s := range made.grants() {
		for _, action := range s.actions {
			if strings.HasSuffix(action, "Mac") {
				may = append(may, s.holder+" "+action+" "+strings.Join(s.resources, ","))
			}
		}
	}
	slices.Sort(may)
	want := []string{
		"ExportRole kms:VerifyMac ${MacKey.Arn}", "PackageRole kms:GenerateMac ${MacKey.Arn}", "PackageRole kms:VerifyMac ${MacKey.Arn}",
		"RestoreRole kms:VerifyMac ${MacKey.Arn}",
	}
	if diff := cmp.Diff(want, may); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, name := range []string{"Export", "Package", "Restore"} {
		if got := text(at(made.one("AWS::Lambda::Function", name).Properties, "Environment", "Variables", "LIFEBOAT_MAC_KEY")); got != "${MacKey.Arn}" {
			t.Errorf("%s finds the key %s", name, got)
		}
	}
}

// TestPresigned: a URL of anybody but the signer is good for a quarter of an hour.
func TestPresigned(t *testing.T) {
	want := " if aws:PrincipalArn ArnNotEquals ${Signer.Arn} and s3:authType StringEquals REST-QUERY-STRING and s3:signatureAge NumericGreaterThan 900000"
	if !slices.ContainsFunc(made.resourcePolicies(), func(s statement) bool {
		return s.holder == "VaultPolicy" && s.effect == "Deny" && s.conditions == want && slices.Equal(s.resources, []string{"${Vault.Arn}/*"})
	}) {
		t.Error("the vault serves URLs of any age")
	}
}

// TestFunctions holds every function to what package deployed says of it.
func TestFunctions(t *testing.T) {
	if got, want := len(made.of("AWS::Lambda::Function")), len(deployed.Functions); got != want {
		t.Errorf("%d functions, %d are known", got, want)
	}
	for _, f := range deployed.Functions {
		id := strings.ToUpper(f.Name[:1]) + f.Name[1:]
		p := made.one("AWS::Lambda::Function", id).Properties
		got := fmt.Sprintln(text(p["Runtime"]), texts(p["Architectures"]), text(p["Handler"]), text(at(p, "TracingConfig", "Mode")), text(p["RecursiveLoop"]),
			text(p["MemorySize"]), text(p["Timeout"]), text(p["Role"]), p["ReservedConcurrentExecutions"])
		want := fmt.Sprintln("provided.al2023", []string{"arm64"}, "bootstrap", "Active", "Terminate", f.Memory, f.Timeout.Seconds(), "${"+id+"Role.Arn}", nil)
		if got != want {
			t.Errorf("%s: %s, want %s", f.Name, got, want)
		}
		variables, _ := at(p, "Environment", "Variables").(map[string]any)
		values := func(name string) string { return environmentValue(variables[name]) }
		if _, err := deployed.Read(f.Name, values); err != nil {
			t.Error(err)
		}
		for name, value := range variables {
			if !slices.Contains(slices.Concat(f.Required, f.Optional), name) {
				t.Errorf("%s finds %s, which it does not take", f.Name, name)
			}
			if name == "LIFEBOAT_LOOPBACK" {
				t.Errorf("%s is let through to loopback", f.Name)
			}
			if strings.HasSuffix(name, "_KEY") && name != "LIFEBOAT_MAC_KEY" && !strings.HasPrefix(text(value), "secretsmanager:") {
				t.Errorf("%s: %s is no reference: %s", f.Name, name, text(value))
			}
		}
	}
}

// environmentValue is a value that a function could find, where the template has one that is known only when it is deployed.
func environmentValue(value any) string {
	if value == nil {
		return ""
	}
	s := text(value)
	s = strings.ReplaceAll(s, "${AWS::AccountId}", "123456789012")
	if strings.HasPrefix(s, "${Public.") {
		return "https://abc.execute-api.eu-central-1.amazonaws.com"
	}
	if s == "${MacKey.Arn}" {
		return "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
	}
	return s
}

// TestGrants compares the roles of the functions with package deployed: what it lists, and nothing else in the vault.
func TestGrants(t *testing.T) {
	for _, f := range deployed.Functions {
		id := strings.ToUpper(f.Name[:1]) + f.Name[1:] + "Role"
		want := map[string]bool{}
		for _, g := range f.Vault {
			resource := "${Vault.Arn}/" + g.Prefix
			if g.Prefix == "" {
				resource = "${Vault.Arn}"
			} else if strings.HasSuffix(g.Prefix, "/") {
				resource += "*"
			}
			want[g.Action+" "+resource] = true
		}
		got := map[string]bool{}
		for _, s := range made.grants() {
			for _, action := range s.actions {
				for _, resource := range s.resources {
					if s.holder == id && strings.HasPrefix(resource, "${Vault.Arn}") {
						got[action+" "+resource] = true
					}
				}
			}
		}
		for grant := range got {
			if !want[grant] {
				t.Errorf("%s may do %s", f.Name, grant)
			}
		}
		for grant := range want {
			if !got[grant] {
				t.Errorf("%s may not do %s", f.Name, grant)
			}
		}
	}
}

// TestSecrets: each secret is read by exactly the functions that need it; and the people who make links derive them.
func TestSecrets(t *testing.T) {
	readers := map[string][]string{}
	for _, s := range made.grants() {
		for _, action := range s.actions {
			if action == "secretsmanager:GetSecretValue" || action == "ssm:GetParameter" {
				for _, resource := range s.resources {
					name := resource[max(strings.LastIndex(resource, ":"), strings.LastIndex(resource, "{"))+1:]
					readers[name] = append(readers[name], s.holder)
				}
			}
		}
	}
	for name, want := range map[string]string{
		"SigningKey}": "ExportRole PackageRole RestoreRole", "LinkKey}": "ApiRole NotifyRole Operators", "parameter/lifeboat/lifeboat": "Operators",
		"zipline-??????": "CopyRole ExportRole", "zipline-new-AbCdEf": "RestoreRole",
		"parameter/lifeboat/external-id": "RestoreRole",
		"parameter/lifeboat/access":      "CopyRole ExportRole", "parameter/lifeboat/secret": "CopyRole ExportRole",
		"hook-??????": "NotifyRole", "hook-key-??????": "NotifyRole",
	} {
		slices.Sort(readers[name])
		if got := strings.Join(slices.Compact(readers[name]), " "); got != want {
			t.Errorf("%s is read by %q, want %q", name, got, want)
		}
		delete(readers, name)
	}
	if len(readers) > 0 {
		t.Errorf("others are read, too: %v", readers)
	}
}

// TestLogs: every group of logs is encrypted, and ends.
func TestLogs(t *testing.T) {
	for _, id := range made.of("AWS::Logs::LogGroup") {
		p := made.Resources[id].Properties
		if text(p["RetentionInDays"]) != "90" || text(p["KmsKeyId"]) != "${Key.Arn}" {
			t.Errorf("%s: kept %s days, key %s", id, text(p["RetentionInDays"]), text(p["KmsKeyId"]))
		}
		// API Gateway and Step Functions add other names to a policy of the account's, of 5,120 characters for all groups.
		name := text(p["LogGroupName"])
		if delivered := strings.HasPrefix(name, "/aws/vendedlogs/"); delivered != slices.Contains([]string{"PublicLog", "MachinesLog", "BackupMachineLog", "RestoreMachineLog"}, plainID(id)) {
			t.Errorf("%s is named %s", id, name)
		}
	}
	if got, want := len(made.of("AWS::Logs::LogGroup")), len(deployed.Functions)+4; got != want {
		t.Errorf("%d groups of logs, want %d: the functions', two machines', two APIs'", got, want)
	}
}

// TestAsynchronousEdges: whatever is delivered without somebody waiting for the answer has a queue for what could not be,
// and an alarm looks at all of these queues.
func TestAsynchronousEdges(t *testing.T) {
	for _, id := range made.of("AWS::Scheduler::Schedule") {
		target := at(made.Resources[id].Properties, "Target")
		if got := text(at(target, "DeadLetterConfig", "Arn")); got != "${UndeliveredSchedules.Arn}" {
			t.Errorf("%s: %s", id, got)
		}
		if text(at(target, "RetryPolicy", "MaximumEventAgeInSeconds")) != "7200" {
			t.Errorf("%s is tried %s", id, text(at(target, "RetryPolicy")))
		}
	}
	asynchronous := map[string]bool{}
	for _, id := range made.of("AWS::Events::Rule") {
		targets := list(made.Resources[id].Properties["Targets"])
		if len(targets) != 2 {
			t.Errorf("%s has %d targets", id, len(targets))
		}
		for _, target := range targets {
			asynchronous[strings.Trim(text(at(target, "Arn")), "${}")] = true
			if got := text(at(target, "DeadLetterConfig", "Arn")); got != "${UndeliveredEvents.Arn}" {
				t.Errorf("%s: %s", id, got)
			}
		}
	}
	asynchronous["Start.Arn"] = true // of the schedules
	for _, id := range made.of("AWS::Lambda::EventInvokeConfig") {
		p := made.Resources[id].Properties
		delete(asynchronous, strings.Trim(text(p["FunctionName"]), "${}")+".Arn")
		if got := text(at(p, "DestinationConfig", "OnFailure", "Destination")); got != "${UnansweredEvents.Arn}" {
			t.Errorf("%s: %s", id, got)
		}
	}
	if len(asynchronous) > 0 {
		t.Errorf("invoked without a queue for what fails: %v", asynchronous)
	}
	metrics := text(made.one("AWS::CloudWatch::Alarm", "UndoneAlarm").Properties["Metrics"])
	for _, id := range made.of("AWS::SQS::Queue") {
		if !strings.Contains(metrics, "${"+plainID(id)+".QueueName}") {
			t.Errorf("no alarm looks at %s", id)
		}
		if made.Resources[id].Properties["SqsManagedSseEnabled"] != true {
			t.Errorf("%s is not encrypted", id)
		}
	}
}

func TestAlarms(t *testing.T) {
	var ids []string
	for _, id := range made.of("AWS::CloudWatch::Alarm") {
		p := made.Resources[id].Properties
		ids = append(ids, plainID(id)+" "+text(p["TreatMissingData"]))
		if text(p["AlarmActions"]) != "${Failures}" || !strings.Contains(text(p["AlarmDescription"]), "docs/runbook.md") {
			t.Errorf("%s tells nobody, or not what to do", id)
		}
	}
	want := []string{"DamagedAlarm notBreaching", "FailedAlarm notBreaching", "OverdueAlarm breaching", "ThrottledAlarm notBreaching", "UndoneAlarm notBreaching"}
	if !slices.Equal(ids, want) {
		t.Errorf("%v, want %v", ids, want)
	}
	overdue := made.one("AWS::CloudWatch::Alarm", "OverdueAlarm").Properties
	if got := text(overdue["Namespace"]) + " " + text(overdue["MetricName"]) + " " + text(overdue["Dimensions"]); got != "Lifeboat Overdue Name=Stack Value=lifeboat" {
		t.Errorf("the alarm looks at %s", got)
	}
	if !strings.Contains(lambdafnSource(t, "emf.go"), `const Namespace = "Lifeboat"`) {
		t.Error("the functions' metrics are elsewhere")
	}
	throttled := text(made.one("AWS::CloudWatch::Alarm", "ThrottledAlarm").Properties["Metrics"])
	for _, f := range deployed.Functions {
		if id := strings.ToUpper(f.Name[:1]) + f.Name[1:]; !strings.Contains(throttled, "${"+id+"}") {
			t.Errorf("no alarm looks at throttles of %s", f.Name)
		}
	}
	if topic := made.one("AWS::SNS::Topic", "Failures"); text(topic.Properties["KmsMasterKeyId"]) != "${Key.Arn}" {
		t.Error("the topic of failures is not encrypted")
	}
	if !slices.ContainsFunc(made.resourcePolicies(), func(s statement) bool {
		return s.holder == "FailuresPolicy" && s.effect == "Allow" && s.principal == "Service=cloudwatch.amazonaws.com" && slices.Equal(s.actions, []string{"sns:Publish"})
	}) {
		t.Error("no alarm may publish to the topic")
	}
}

// TestAlarmSize: an alarm takes ten metrics, its sum among them.
func TestAlarmSize(t *testing.T) {
	for _, id := range made.of("AWS::CloudWatch::Alarm") {
		if n := len(list(made.Resources[id].Properties["Metrics"])); n > 10 {
			t.Errorf("%s has %d metrics", id, n)
		}
	}
}

// TestSchedules: what they send is what the functions decode strictly, and a run has a time of its own.
func TestSchedules(t *testing.T) {
	var got []string
	for _, id := range made.of("AWS::Scheduler::Schedule") {
		p := made.Resources[id].Properties
		target := at(p, "Target")
		got = append(got, fmt.Sprint(id, ": ", text(p["ScheduleExpression"]), " ", text(p["ScheduleExpressionTimezone"]), " ", text(p["FlexibleTimeWindow"]), " → ",
			text(at(target, "Arn")), " ", text(at(target, "Input"))))
		checkInput(t, id, text(at(target, "Arn")), text(at(target, "Input")))
	}
	golden(t, "schedules.golden.txt", []byte(strings.Join(got, "\n")+"\n"))
}

// TestRoutes lists who reaches what. Nothing that is open may be anything but a link.
func TestRoutes(t *testing.T) {
	var got []string
	for _, id := range made.of("AWS::ApiGatewayV2::Route") {
		p := made.Resources[id].Properties
		scopes := ""
		if p["AuthorizationScopes"] != nil {
			scopes = " " + text(p["AuthorizationScopes"])
		}
		got = append(got, fmt.Sprintf("%s %s: %s%s", strings.Trim(text(p["ApiId"]), "${}"), text(p["RouteKey"]), text(p["AuthorizationType"]), scopes))
	}
	slices.Sort(got)
	want := []string{
		"Machines GET /backups/{id}: AWS_IAM", "Machines GET /backups: AWS_IAM", "Machines GET /restores/{id}: AWS_IAM",
		"Machines GET /restores: AWS_IAM",
		"Machines POST /backups: AWS_IAM", "Machines POST /restores: AWS_IAM",
		"Public GET /assets/{name}: NONE", "Public GET /backups/{id}: JWT backup:read", "Public GET /backups: JWT backup:read",
		"Public GET /l/{token}: NONE", "Public GET /restores/{id}: JWT backup:read", "Public GET /restores: JWT backup:read",
		"Public POST /backups: JWT backup:run", "Public POST /l/{token}: NONE", "Public POST /restores: JWT backup:restore",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
	nobody := variant(t, func(c string) string {
		before, after, _ := strings.Cut(c, "  api:")
		_, after, _ = strings.Cut(after, "\n")
		return before + after
	})
	for _, id := range nobody.of("AWS::ApiGatewayV2::Route") {
		p := nobody.Resources[id].Properties
		if key := text(p["RouteKey"]); text(p["AuthorizationType"]) == "NONE" && !strings.Contains(key, "/l/{token}") && !strings.Contains(key, "/assets/") {
			t.Errorf("without an issuer %s is open", key)
		}
	}
}

// TestInvoked: each route may invoke the function, under the name that API Gateway gives it.
func TestInvoked(t *testing.T) {
	var got []string
	for _, id := range made.of("AWS::Lambda::Permission") {
		p := made.Resources[id].Properties
		if text(p["Principal"]) == "apigateway.amazonaws.com" {
			_, arn, _ := strings.Cut(text(p["SourceArn"]), ":execute-api:")
			got = append(got, strings.TrimPrefix(arn, "${AWS::Region}:${AWS::AccountId}:"))
		}
	}
	slices.Sort(got)
	want := []string{
		"${Machines}/*/GET/backups", "${Machines}/*/GET/backups/*", "${Machines}/*/GET/restores", "${Machines}/*/GET/restores/*", "${Machines}/*/POST/backups", "${Machines}/*/POST/restores",
		"${Public}/*/GET/assets/*", "${Public}/*/GET/backups", "${Public}/*/GET/backups/*", "${Public}/*/GET/l/*", "${Public}/*/GET/restores", "${Public}/*/GET/restores/*",
		"${Public}/*/POST/backups", "${Public}/*/POST/l/*", "${Public}/*/POST/restores",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestStages(t *testing.T) {
	for _, id := range made.of("AWS::ApiGatewayV2::Stage") {
		p := made.Resources[id].Properties
		if at(p, "DefaultRouteSettings", "ThrottlingRateLimit") == nil || at(p, "DefaultRouteSettings", "ThrottlingBurstLimit") == nil {
			t.Errorf("%s takes as many requests as come", id)
		}
		format := text(at(p, "AccessLogSettings", "Format"))
		var line map[string]string
		if err := json.Unmarshal([]byte(format), &line); err != nil {
			t.Errorf("%s logs no JSON: %v", id, err)
		}
		for _, secret := range []string{"context.path", "$context.protocol", "querystring", "requestOverride", "Authorization"} {
			if strings.Contains(format, secret) {
				t.Errorf("%s logs %s, in which a token may stand", id, secret)
			}
		}
	}
	if len(made.of("AWS::ApiGatewayV2::Stage")) != 2 {
		t.Error("there are not two APIs")
	}
}

// TestMail: TLS or nothing, and nobody is followed.
func TestMail(t *testing.T) {
	p := made.one("AWS::SES::ConfigurationSet", "Mail").Properties
	if text(at(p, "DeliveryOptions", "TlsPolicy")) != "REQUIRE" || p["TrackingOptions"] != nil {
		t.Errorf("mail leaves as %s", text(p))
	}
	destination := made.one("AWS::SES::ConfigurationSetEventDestination", "MailMetrics").Properties
	if events := text(at(destination, "EventDestination", "MatchingEventTypes")); strings.Contains(events, "open") || strings.Contains(events, "click") {
		t.Errorf("SES follows %s", events)
	}
	existing := variant(t, func(c string) string {
		return strings.Replace(c, "backups@example.com}", "backups@example.com, existing: true}", 1)
	})
	if len(existing.of("AWS::SES::EmailIdentity")) != 0 || len(existing.of("AWS::SES::ConfigurationSet")) != 1 {
		t.Error("an identity that is there already is made again")
	}
	address := variant(t, func(c string) string {
		return strings.Replace(c, "backups@example.com}", "backups@example.com, identity: backups@example.com}", 1)
	})
	if address.Outputs["MailRecordsCommand"] != nil || address.Outputs["MailSandboxCommand"] == nil {
		t.Error("an address has no records to put into a domain")
	}
	without := variant(t, func(c string) string { return strings.Replace(c, "  mail: {from: backups@example.com}\n", "", 1) })
	for _, r := range without.Resources {
		if strings.HasPrefix(r.Type, "AWS::SES::") {
			t.Errorf("there is a %s that nobody asked for", r.Type)
		}
	}
}

// TestReserved: off, but where somebody asks for it.
func TestReserved(t *testing.T) {
	some := variant(t, func(c string) string {
		return strings.Replace(c, "deploy:\n", "deploy:\n  reserved-concurrency: {copy: 50}\n", 1)
	})
	for _, id := range some.of("AWS::Lambda::Function") {
		want := any(nil)
		if plainID(id) == "Copy" {
			want = 50.0
		}
		if got := some.Resources[id].Properties["ReservedConcurrentExecutions"]; got != want {
			t.Errorf("%s has %v, want %v", id, got, want)
		}
	}
}

// TestSize: a stack takes 500 resources, an output 4096 bytes, a template a million.
func TestSize(t *testing.T) {
	if len(made.Resources) > 300 || len(made.text) > 500_000 {
		t.Errorf("%d resources, %d bytes", len(made.Resources), len(made.text))
	}
	for id, o := range made.Outputs {
		if n := len(text(o["Value"])); n > 3000 {
			t.Errorf("the output %s has %d bytes", id, n)
		}
	}
}
