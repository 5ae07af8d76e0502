package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestNamed: what lifeboat.yaml names is what the roles may reach: nothing of a name is a pattern or a variable, and a
// secret by an ARN without its end is the secret.
func TestNamed(t *testing.T) {
	odd := variant(t, func(c string) string {
		return strings.NewReplacer(
			"    path: s3://example-papers\n", "    path: \"s3://example-papers/a*b/${AWS::AccountId}/why?\"\n",
			"token: secretsmanager:zipline#token", "token: \"secretsmanager:arn:aws:secretsmanager:eu-central-1:123456789012:secret:zip.line#token\"",
		).Replace(c)
	})
	for _, of := range []template{made, odd} {
		for _, s := range of.grants() {
			for _, resource := range s.resources {
				if strings.Contains(resource, "example-papers/a*b") || strings.HasSuffix(resource, "zip.line") {
					t.Errorf("%s may do %v on %s", s.holder, s.actions, resource)
				}
			}
		}
	}
	const below, secret = "arn:${AWS::Partition}:s3:::example-papers/a${*}b/${$}{AWS::AccountId}/why${?}/*", "arn:aws:secretsmanager:eu-central-1:123456789012:secret:zip.line-??????"
	for _, want := range []string{
		"CopyRole s3:GetObject " + below, "ExportRole s3:GetObject " + below,
		"CopyRole secretsmanager:GetSecretValue " + secret, "ExportRole secretsmanager:GetSecretValue " + secret,
		"RestoreRole secretsmanager:GetSecretValue arn:aws:secretsmanager:eu-central-1:123456789012:secret:zipline-new-AbCdEf",
	} {
		if !slices.ContainsFunc(odd.grants(), func(s statement) bool {
			return slices.ContainsFunc(s.actions, func(a string) bool {
				return slices.ContainsFunc(s.resources, func(r string) bool { return s.holder+" "+a+" "+r == want })
			})
		}) {
			t.Errorf("missing: %s", want)
		}
	}
	if policy := text(odd.Outputs["SourcePapersPolicyCommand"]["Value"]); !strings.Contains(policy, `/a${*}b/${$}{AWS::AccountId}/why${?}/*"`) {
		t.Errorf("the owner of the bucket is told %s", policy)
	}
}

// TestVaultKey: who uses the vault's key does so through the services that need it, and who writes nothing makes no data keys.
func TestVaultKey(t *testing.T) {
	services := map[string]string{} // holder and action → services
	for _, s := range made.grants() {
		for _, action := range s.actions {
			if slices.Contains(s.resources, "${Key.Arn}") {
				via := strings.ReplaceAll(strings.TrimPrefix(s.conditions, " if kms:ViaService StringEquals "), ".${AWS::Region}.${AWS::URLSuffix}", "")
				of := s.holder + " " + strings.TrimPrefix(action, "kms:")
				services[of] = strings.TrimPrefix(services[of]+","+via, ",")
			}
		}
	}
	want := map[string]string{
		"StartRole Decrypt": "s3", "Signer Decrypt": "s3", "CopyRole Decrypt": "s3", "CopyRole GenerateDataKey": "s3",
		"BackupMachineRole Decrypt": "s3", "BackupMachineRole GenerateDataKey": "s3", "RestoreMachineRole Decrypt": "s3", "RestoreMachineRole GenerateDataKey": "s3",
	}
	for _, holder := range []string{"ExportRole", "PackageRole", "NotifyRole", "RestoreRole", "ApiRole", "Operators"} {
		want[holder+" Decrypt"], want[holder+" GenerateDataKey"] = "s3,secretsmanager", "s3"
	}
	if got := fmt.Sprint(services); got != fmt.Sprint(want) {
		t.Errorf("%s, want %v", got, want)
	}
}

// TestPolicySizes: however many sources there are, no policy is longer than IAM takes it, and all but the last are filled. The
// rights are those of the sources, one by one.
func TestPolicySizes(t *testing.T) {
	c := crowd{sources: 100, source: ownedSource, when: dailyKey}
	_, of := c.synthesized(t)
	count, whole := map[string]int{}, 0
	for _, kind := range []string{"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy"} {
		for _, id := range of.of(kind) {
			p := of.Resources[id].Properties
			data, err := json.Marshal(atLength(p["PolicyDocument"]))
			if err != nil {
				t.Fatal(err)
			}
			most := map[string]int{"AWS::IAM::Policy": 10240, "AWS::IAM::ManagedPolicy": 6144}[kind]
			if len(data) > most {
				t.Errorf("%s has %d characters, and IAM takes %d", id, len(data), most)
			}
			if kind == "AWS::IAM::ManagedPolicy" && p["Roles"] != nil {
				count[text(p["Roles"])]++
				whole += len(data)
			}
		}
	}
	for role, n := range count {
		if n > 10 {
			t.Errorf("%s has %d policies", role, n)
		}
	}
	if n := count["${ExportRole}"] + count["${CopyRole}"]; n == 0 || whole/n < 4500 {
		t.Errorf("%v policies of %d characters", count, whole)
	}
	got := map[string]int{}
	for _, s := range of.grants() {
		for _, action := range s.actions {
			for _, resource := range s.resources {
				if s.holder == "CopyRole" && (strings.Contains(resource, "example-s") || strings.Contains(resource, "zipline-") || strings.Contains(resource, ":key/")) {
					got[action+" "+resource+s.conditions]++
				}
			}
		}
	}
	for n := range c.sources {
		number := fmt.Sprintf("%03d", n)
		owner := " if aws:ResourceAccount StringEquals 111122223" + number
		for _, want := range []string{
			"s3:GetObject arn:${AWS::Partition}:s3:::example-s" + number + "/uploads/*" + owner, "s3:ListBucket arn:${AWS::Partition}:s3:::example-s" + number + owner,
			"secretsmanager:GetSecretValue arn:${AWS::Partition}:secretsmanager:${AWS::Region}:${AWS::AccountId}:secret:zipline-" + number + "-??????",
			"kms:Decrypt arn:aws:kms:eu-central-1:123456789012:key/11111111-2222-3333-4444-555555555" + number + " if kms:ViaService StringLike s3.*.${AWS::URLSuffix}",
		} {
			if got[want] != 1 {
				t.Errorf("%d times: %s", got[want], want)
			}
			delete(got, want)
		}
	}
	if len(got) > 0 {
		t.Errorf("rights that nobody asked for: %v", got)
	}
}

// atLength puts long names in the place of what is known only when the stack is deployed.
func atLength(value any) any {
	switch v := value.(type) {
	case []any:
		all := make([]any, 0, len(v))
		for _, one := range v {
			all = append(all, atLength(one))
		}
		return all
	case map[string]any:
		for name := range v {
			if name == "Ref" || strings.HasPrefix(name, "Fn::") {
				long := strings.NewReplacer("${AWS::Partition}", "aws-us-gov", "${AWS::Region}", "ap-southeast-2", "${AWS::AccountId}", "123456789012", "${AWS::URLSuffix}", "amazonaws.com.cn")
				return strings.ReplaceAll(long.Replace(text(v)), "${", "arn:aws-us-gov:service:ap-southeast-2:123456789012:a-name-of-the-stack-and-more-")
			}
		}
		all := map[string]any{}
		for name, one := range v {
			all[name] = atLength(one)
		}
		return all
	}
	return value
}
