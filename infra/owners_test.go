package main

import (
	"strings"
	"testing"
)

// TestOwnBuckets: every grant on a bucket that the stack does not make says whose it must be: the bucket of the
// configuration, and those of sources and targets, which an owner: in lifeboat.yaml gives to another account.
func TestOwnBuckets(t *testing.T) {
	count := func(of template, account string) int {
		n := 0
		for _, s := range of.grants() {
			for _, resource := range s.resources {
				foreign := strings.Contains(resource, ":s3:::") && !strings.Contains(resource, "${Vault.Arn}")
				switch {
				case foreign && !strings.Contains(s.conditions, "aws:ResourceAccount"):
					t.Errorf("%s may %v on %s, whoever owns it", s.holder, s.actions, resource)
				case foreign && strings.Contains(s.conditions, account):
					n++
				}
			}
		}
		return n
	}
	if n := count(made, "AWS::AccountId"); n < 10 {
		t.Errorf("%d grants on buckets of the account", n)
	}
	if n := count(made, "777788889999"); n != 0 {
		t.Errorf("%d grants on buckets of nobody's", n)
	}
	theirs := variant(t, func(c string) string {
		return strings.Replace(c, "    path: s3://example-papers\n", "    path: {s3: \"s3://example-papers\", owner: \"777788889999\"}\n", 1)
	})
	if n := count(theirs, "777788889999"); n != 4 { // export and copy, the bucket and its objects
		t.Errorf("%d grants on buckets of the owner that is named", n)
	}
}
