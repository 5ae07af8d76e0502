package main

import (
	"slices"
	"strings"
	"testing"
)

const (
	readerRole = "arn:aws:iam::444455556666:role/lifeboat-reader"
	writerRole = "arn:aws:iam::444455556666:role/lifeboat-writer"
)

// TestRolesOfOthers: who reads a bucket of another account through its role may assume that one role, has no right on the
// bucket itself, and nobody else may assume any.
func TestRolesOfOthers(t *testing.T) {
	var got []string
	for _, s := range made.grants() {
		if slices.Contains(s.actions, "sts:AssumeRole") {
			got = append(got, s.holder+" "+strings.Join(s.actions, " ")+" "+strings.Join(s.resources, " ")+s.conditions)
		}
		for _, resource := range s.resources {
			if strings.Contains(resource, "example-partner") {
				t.Errorf("%s reaches the other account's bucket itself: %v", s.holder, s.actions)
			}
		}
	}
	slices.Sort(got)
	want := []string{"CopyRole sts:AssumeRole " + readerRole, "ExportRole sts:AssumeRole " + readerRole, "RestoreRole sts:AssumeRole " + writerRole}
	if !slices.Equal(got, want) {
		t.Errorf("who may assume what:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if !slices.ContainsFunc(made.grants(), func(s statement) bool {
		return s.holder == "RestoreRole" && slices.Contains(s.actions, "ssm:GetParameter") && strings.Contains(strings.Join(s.resources, " "), "parameter/lifeboat/external-id")
	}) {
		t.Error("the restore can't read the external id that is a reference")
	}
}

// TestPoliciesOfOthers: an output says what the other account has to allow, of the role or of the bucket.
func TestPoliciesOfOthers(t *testing.T) {
	for id, want := range map[string][]string{
		"SourcePartnerTrustPolicyCommand": {"sts:AssumeRole", "${ExportRole.Arn}", "${CopyRole.Arn}", `"StringEquals":{"sts:ExternalId":"lifeboat-7f3e9a2c"}`},
		"TargetPartnerTrustPolicyCommand": {"sts:AssumeRole", "${RestoreRole.Arn}", "<PUT-THE-VALUE-OF-ssm:/lifeboat/external-id-HERE>"},
		"SourcePapersPolicyCommand":       {"s3:GetObject", "s3:ListBucket", "${ExportRole.Arn}", "${CopyRole.Arn}"},
	} {
		value := text(made.Outputs[id]["Value"])
		for _, part := range want {
			if !strings.Contains(value, part) {
				t.Errorf("%s does not say %s:\n%s", id, part, value)
			}
		}
	}
	for _, id := range []string{"SourcePartnerPolicyCommand", "TargetPartnerPolicyCommand"} {
		if made.Outputs[id] != nil {
			t.Errorf("%s asks for rights on a bucket that its owner's role reaches", id)
		}
	}
	open := variant(t, func(c string) string { return strings.Replace(c, ", external-id: lifeboat-7f3e9a2c", "", 1) })
	if value := text(open.Outputs["SourcePartnerTrustPolicyCommand"]["Value"]); value == "" || strings.Contains(value, "ExternalId") {
		t.Errorf("without an external id: %s", value)
	}
}
