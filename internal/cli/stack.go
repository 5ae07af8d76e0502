package cli

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"time"

	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/sfn"
	"github.com/aws/smithy-go/logging"
	"github.com/spf13/cobra"

	"lifeboat/internal/catalog"
	"lifeboat/internal/failure"
	"lifeboat/internal/lambdafn/deployed"
	"lifeboat/internal/lambdafn/remote"
	"lifeboat/internal/secret"
	"lifeboat/internal/secret/awssecret"
	"lifeboat/internal/setup"
	"lifeboat/internal/vault"
)

// stack is the deployed stack whose vault a session has open.
type stack struct {
	remote.Stack
	name     string
	machines *remote.Machines
}

// onStacks are the commands that work with a stack. The others need the vault's signing key, or this machine.
var onStacks = []string{"backup", "restore", "restores", "list", "show", "link", "unlink", "download"}

// reaches refuses --stack for a command that does not work with one.
func (c *cli) reaches(cmd *cobra.Command) error {
	switch {
	case c.stack == "" && !cmd.Flags().Changed("stack"):
		return nil
	case !slices.Contains(onStacks, cmd.Name()):
		return failure.New(failure.Usage, "%s does not take --stack", cmd.CommandPath()).
			WithHint("%s do; for anything else, name the stack's vault in a lifeboat.yaml: vault: s3://BUCKET", strings.Join(onStacks, ", "))
	case cmd.Flags().Changed("config"):
		return failure.New(failure.Usage, "--stack and --config: a stack has its own lifeboat.yaml").WithHint("leave --config out")
	}
	_, err := remote.Parameter(c.stack)
	return err
}

var aboutStacks = regexp.MustCompile(`\blifeboat (` + strings.Join(onStacks, "|") + `)\b`)

// there makes the commands that a text tells people to type lead to the same stack.
func (c *cli) there(text string) string {
	if c.stack == "" {
		return text
	}
	return aboutStacks.ReplaceAllString(text, "lifeboat --stack "+c.stack+" $1")
}

// secretTime is how long a secret of a stack is kept in memory.
const secretTime = 15 * time.Minute

// openStack opens the vault of a stack, as its parameter describes it. One that has no vault yet is open too: its first
// backup makes it.
func (c *cli) openStack(ctx context.Context) (*session, error) {
	account, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithLogger(logging.Nop{}), awsconfig.WithRetryMaxAttempts(4))
	if err != nil {
		return nil, failure.New(failure.Usage, "set up the AWS SDK: %w", err)
	}
	if account.Region == "" {
		return nil, failure.New(failure.Usage, "nothing says in which Region the stack %s is", c.stack).WithHint("set AWS_REGION, or region in the profile that AWS_PROFILE names")
	}
	client, err := vault.Connect(ctx, vault.Store{})
	if err != nil {
		return nil, err
	}
	if err := setup.Credentialed(ctx, client, "set AWS_PROFILE, or sign in with `aws sso login` or `aws configure`"); err != nil {
		return nil, err
	}
	secret.Install(awssecret.New(account), secretTime)
	about, err := c.describeStack()
	if err != nil {
		return nil, err
	}
	st := &stack{Stack: about, name: c.stack, machines: &remote.Machines{
		Client: sfn.NewFromConfig(account), Backup: about.BackupMachine, Restore: about.RestoreMachine,
	}}
	return c.enterStack(ctx, client, st)
}

// describeStack reads the parameter of the stack.
func (c *cli) describeStack() (remote.Stack, error) {
	name, err := remote.Parameter(c.stack)
	if err != nil {
		return remote.Stack{}, err
	}
	text, err := secret.Reference("ssm:" + name).Resolve()
	switch kind := failure.KindOf(err); {
	case err == nil:
	case kind == failure.NotFound:
		return remote.Stack{}, failure.New(failure.NotFound, "there is no stack %s in this account and Region", c.stack).
			WithHint("look at AWS_PROFILE and AWS_REGION; the name is what deploy: {stack: …} says in lifeboat.yaml, or else lifeboat")
	case kind == failure.Denied:
		return remote.Stack{}, failure.New(failure.Denied, "the description of the stack %s may not be read: %w", c.stack, err).
			WithHint("the role or user needs ssm:GetParameter on the parameter %s", name)
	default:
		return remote.Stack{}, err
	}
	return remote.Parse(c.stack, text.Reveal())
}

func (c *cli) enterStack(ctx context.Context, client *s3.Client, st *stack) (*session, error) {
	cfg, err := remote.Configuration(ctx, client, st.Stack)
	if err != nil {
		return nil, err
	}
	s := &session{config: cfg, log: c.log, there: true, stack: st, vault: remote.Vault(client, st.VaultBucket, st.Account)}
	s.catalog = catalog.New(s.vault)
	s.about, err = s.vault.Describe(ctx)
	if err != nil && failure.KindOf(err) != failure.NotFound {
		return nil, err
	}
	return s, nil
}

// linkKey is the key that the links of the stack derive from.
func (s *stack) linkKey() (secret.String, error) {
	if s.LinkKey == "" {
		return secret.String{}, failure.New(failure.Invalid, "the stack %s has no key for links", s.name).WithHint("deploy the stack again: it writes where the key is")
	}
	key, err := s.LinkKey.Resolve()
	if err != nil && failure.KindOf(err) == failure.Denied {
		return key, failure.New(failure.Denied, "the key of the stack's links may not be read").
			WithHint("the role or user needs secretsmanager:GetSecretValue on %s; or use --direct", s.LinkKey)
	}
	return key, err
}

// place is where the functions of the stack run.
func (s *stack) place() deployed.Place { return deployed.Place{VaultBucket: s.VaultBucket} }
