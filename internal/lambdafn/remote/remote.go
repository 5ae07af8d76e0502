// Package remote is a deployed stack as those see it who ask something of it from outside of its workflows: the command
// line with --stack, the function that answers the API, the function that schedules call.
//
// A stack describes itself in a parameter of SSM (Stack), which the deployment writes: the names of its parts, and no
// secret. Its state machines are started and asked through Machines; a run's record in the vault says the rest. Nothing
// is stored here.
package remote

import (
	"context"
	"encoding/json"
	"io"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/config"
	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
	"lifeboat/internal/vault"
)

// Format is the version of the parameter that this program reads; it refuses a later one.
const Format = 1

// Stack is the value of the parameter, as JSON. What a later deployment adds is passed over.
type Stack struct {
	Format         int              `json:"format"`
	VaultBucket    string           `json:"vault_bucket"`
	Config         string           `json:"config"`     // as LIFEBOAT_CONFIG of the functions
	Account        string           `json:"account"`    // that owns the buckets of the vault and of the configuration; "": any, as older stacks say
	PublicURL      string           `json:"public_url"` // where the links of mails lead
	LinkKey        secret.Reference `json:"link_key"`   // as LIFEBOAT_LINK_KEY of the functions
	BackupMachine  string           `json:"backup_machine"`
	RestoreMachine string           `json:"restore_machine"`
}

var stackName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,127}$`)

// Parameter returns the name of the parameter that describes the stack of a name.
func Parameter(stack string) (string, error) {
	if !stackName.MatchString(stack) {
		return "", failure.New(failure.Usage, "%q is no name of a stack", stack).WithHint("it is what deploy: {stack: …} says in lifeboat.yaml, or else lifeboat")
	}
	return "/lifeboat/" + stack, nil
}

// Parse reads what the parameter of a stack says.
func Parse(stack, text string) (Stack, error) {
	s := Stack{}
	if err := json.Unmarshal([]byte(text), &s); err != nil || s.Format < 1 {
		return s, failure.New(failure.Invalid, "the parameter /lifeboat/%s describes no stack", stack).WithHint("deploy the stack again: it writes the parameter")
	}
	if s.Format > Format {
		return s, failure.New(failure.Invalid, "the stack %s was deployed by a later lifeboat", stack).WithHint("use the lifeboat that it was deployed with")
	}
	if s.VaultBucket == "" || s.Config == "" || s.BackupMachine == "" || s.RestoreMachine == "" {
		return s, failure.New(failure.Invalid, "the parameter /lifeboat/%s leaves out parts of the stack", stack).WithHint("deploy the stack again: it writes the parameter")
	}
	return s, nil
}

// maxConfig bounds a configuration, in bytes.
const maxConfig = 1 << 20

// Configuration reads the lifeboat.yaml of a stack: s3://bucket/key, ssm:NAME, or its text. Its vault becomes the
// stack's own, and so does the address of links, where the stack has one. The client is the vault's.
func Configuration(ctx context.Context, client *s3.Client, s Stack) (*config.Config, error) {
	name, data := config.FileName, []byte(s.Config)
	var err error
	switch {
	case strings.HasPrefix(s.Config, "s3://"):
		data, err = download(ctx, client, s.Config, s.Account)
	case strings.HasPrefix(s.Config, "ssm:"):
		var text secret.String
		text, err = secret.Reference(s.Config).Resolve()
		data = []byte(text.Reveal())
	}
	if err != nil {
		return nil, err
	}
	c, err := config.Parse(name, data, "/var/task") // its folder is of no use; see deployed.Place
	if err != nil {
		return nil, err
	}
	c.Vault = config.Location{Bucket: &config.Bucket{Name: s.VaultBucket, Region: client.Options().Region}}
	if s.PublicURL != "" {
		c.Serve.PublicURL = s.PublicURL
	}
	return c, nil
}

// download reads an object of a bucket that must belong to an account: the bucket of a bootstrap has a name that can be
// guessed.
func download(ctx context.Context, client *s3.Client, location, owner string) ([]byte, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(location, "s3://"), "/")
	in := &s3.GetObjectInput{Bucket: &bucket, Key: &key}
	if owner != "" {
		in.ExpectedBucketOwner = &owner
	}
	body, err := client.GetObject(ctx, in)
	if err != nil {
		return nil, vault.Fault(err, "read the configuration %s", location)
	}
	defer body.Body.Close()
	data, err := io.ReadAll(io.LimitReader(body.Body, maxConfig+1))
	if err != nil {
		return nil, vault.Fault(err, "read the configuration %s", location)
	}
	if len(data) > maxConfig {
		return nil, failure.New(failure.Usage, "the configuration %s is larger than %d bytes", location, maxConfig)
	}
	return data, nil
}
