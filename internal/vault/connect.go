package vault

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"lifeboat/internal/failure"
	"lifeboat/internal/secret"
)

// Store says how to reach an S3 server. What is empty is left to the usual chain of the AWS SDK.
type Store struct {
	Endpoint  string
	Region    string
	Profile   string
	AccessKey secret.String
	SecretKey secret.String
	HTTP      aws.HTTPClient
	Role      Role   // assumed with what the rest says
	Owner     string // the account that every request names as the bucket's, so that no other's is taken for it; "": any
}

// Connect returns a client. It sends a CRC-32 with every write, and addresses buckets by path where an endpoint is
// named, as servers other than AWS's want it. It does not talk to the store yet, nor to STS. A client with an owner is for
// the buckets of that account, and must not presign: a browser would not send the header.
func Connect(ctx context.Context, store Store) (*s3.Client, error) {
	config, err := store.config(ctx)
	if err != nil {
		return nil, err
	}
	if config.Region == "" {
		config.Region = "us-east-1"
	}
	if store.Role.ARN != "" {
		config.Credentials = store.Role.assumed(config)
	}
	return s3.NewFromConfig(config, func(o *s3.Options) {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenSupported
		o.DisableLogOutputChecksumValidationSkipped = true // the SDK would write to standard error for each object
		if store.Endpoint != "" {
			o.BaseEndpoint, o.UsePathStyle = &store.Endpoint, true
		}
		if store.Owner != "" {
			o.APIOptions = append(o.APIOptions, smithyhttp.SetHeaderValue("X-Amz-Expected-Bucket-Owner", store.Owner))
		}
	}), nil
}

// retries is how often a request is tried.
const retries = 4

func (s Store) config(ctx context.Context) (aws.Config, error) {
	static := credentials.NewStaticCredentialsProvider(s.AccessKey.Reveal(), s.SecretKey.Reveal(), "")
	if s.HTTP != nil { // the embedded server: nothing of the environment concerns it, and it is as near as can be
		patient := func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = retries, 250*time.Millisecond })
		}
		return aws.Config{Region: s.Region, Credentials: static, HTTPClient: s.HTTP, Retryer: patient}, nil
	}
	options := []func(*awsconfig.LoadOptions) error{
		awsconfig.WithRetryMaxAttempts(retries),
		awsconfig.WithLogger(logging.Nop{}), // what it would write to standard error comes back as an error too
		awsconfig.WithHTTPClient(awshttp.NewBuildableClient().WithTransportOptions(func(t *http.Transport) {
			t.ResponseHeaderTimeout = 10 * time.Minute // the store answers a large Complete late
			t.MaxIdleConnsPerHost = 64
		})),
	}
	if s.Profile != "" {
		options = append(options, awsconfig.WithSharedConfigProfile(s.Profile))
	}
	if s.Region != "" {
		options = append(options, awsconfig.WithRegion(s.Region))
	}
	if !s.AccessKey.Empty() {
		options = append(options, awsconfig.WithCredentialsProvider(static))
	}
	config, err := awsconfig.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return config, failure.New(failure.Usage, "set up the S3 client: %w", err)
	}
	return config, nil
}

// CreateBucket creates the vault's bucket where it is not there yet: only for the embedded server, whose bucket is
// ours alone.
func (v *Vault) CreateBucket(ctx context.Context) error {
	_, err := v.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &v.bucket})
	if err == nil {
		return nil
	}
	if err = wrap(err, "look at the bucket %s", v.bucket); failure.KindOf(err) != failure.NotFound {
		return err
	}
	_, err = v.client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &v.bucket})
	if err = wrap(err, "create the bucket %s", v.bucket); failure.KindOf(err) == failure.Conflict && err != nil {
		return nil // somebody else was faster
	}
	return err
}

// unsigned leaves the SHA-256 of a body out of its request's signature where TLS protects the body already: the CRC-32
// beside it tells damage, and hashing a pack a second time is what costs most of its upload.
func (v *Vault) unsigned(o *s3.Options) {
	if endpoint := aws.ToString(o.BaseEndpoint); endpoint == "" || strings.HasPrefix(endpoint, "https://") {
		o.APIOptions = append(o.APIOptions, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
}

// Format is the version of vaults that this program writes; it refuses a later one.
const Format = 1

// Description is vault.json.
type Description struct {
	Format    int       `json:"format"`
	ID        string    `json:"id"` // random
	Created   time.Time `json:"created"`
	Lifeboat  string    `json:"lifeboat"`   // version that created it
	PublicKey []byte    `json:"public_key"` // Ed25519, of the key that signs manifests
}

// Describe reads vault.json. NotFound: this is no vault yet. Invalid: it is one of a later format.
func (v *Vault) Describe(ctx context.Context) (Description, error) {
	var d Description
	var version struct {
		Format int `json:"format"` // read by itself: in a later format the rest may look different
	}
	if _, err := v.GetJSON(ctx, Marker, &version); err != nil {
		return d, fmt.Errorf("open the vault: %w", err)
	}
	if version.Format > Format {
		return d, failure.New(failure.Invalid, "the vault has format %d, this lifeboat works with formats up to %d", version.Format, Format).
			WithHint("use a newer lifeboat; this one has not changed anything")
	}
	if _, err := v.GetJSON(ctx, Marker, &d); err != nil {
		return d, fmt.Errorf("open the vault: %w", err)
	}
	if d.Format < 1 || d.ID == "" {
		return d, failure.New(failure.Corrupt, "open the vault: vault.json does not describe a vault")
	}
	return d, nil
}

// Initialise writes vault.json; Conflict when there is one.
func (v *Vault) Initialise(ctx context.Context, d Description) error {
	d.Format = Format
	_, err := v.PutJSON(ctx, Marker, d, IfAbsent())
	return err
}
