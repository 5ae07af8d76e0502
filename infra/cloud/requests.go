package cloud

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"encoding/xml"
	"io"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"lifeboat/internal/lambdafn/runtimeapi"
)

// storeOf starts the address at which a function reaches S3, and returns it. What comes there was signed by the function:
// also the presigned URL that somebody else opens.
func (c *Cloud) storeOf(f *Function) (string, error) {
	guard, err := runtimeapi.NewGuard(c.server.URL(), c.server.HTTPClient().Transport, nil)
	if err != nil {
		return "", err
	}
	guard.Ask = func(r *http.Request, action, bucket, key string) bool { return c.mayS3(f, r, action, bucket, key) }
	return c.listen(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.Front != nil && f.Front(w, r) {
			return
		}
		if r.Method == http.MethodPut && r.URL.Query().Has("retention") {
			noteRetention(r)
		}
		guard.ServeHTTP(w, r)
	})), nil
}

// remaining is a header of our own: for how many days a request wants to lock an object.
const remaining = "Lifeboat-Remaining-Retention-Days"

// noteRetention reads from the body of a request how long it locks an object. The body is put back as it was.
func noteRetention(r *http.Request) {
	r.Header.Del(remaining)
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	r.Body = io.NopCloser(bytes.NewReader(body))
	from := bytes.IndexByte(body, '<') // chunks of a signed stream have a head of their own
	var retention struct{ RetainUntilDate time.Time }
	if err != nil || from < 0 || xml.NewDecoder(bytes.NewReader(body[from:])).Decode(&retention) != nil {
		return // who asks says nothing, and the server refuses it
	}
	r.Header.Set(remaining, strconv.Itoa(int(math.Ceil(time.Until(retention.RetainUntilDate).Hours()/24))))
}

// looks reports whether a right is asked for an answer only, which S3 gives all the same, without what may not be known.
func looks(r *http.Request, action string) bool {
	return action == "s3:GetObjectRetention" && !r.URL.Query().Has("retention")
}

func (a *access) refuse(what string) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	a.refused = append(a.refused, what)
}

// mayS3 decides one action of S3, and what it needs of the key that a bucket is encrypted with.
func (c *Cloud) mayS3(f *Function, r *http.Request, action, bucket, key string) bool {
	resource := "arn:aws:s3:::" + bucket
	if key != "" {
		resource += "/" + key
	}
	context := map[string]string{
		"aws:SecureTransport": "true", "s3:TlsVersion": "1.3", "aws:PrincipalArn": f.role, "aws:PrincipalAccount": Account, "s3:authType": "REST-HEADER",
		"aws:ResourceAccount": c.ownerOf(bucket),
	}
	if days := r.Header.Get(remaining); action == "s3:PutObjectRetention" && days != "" {
		context["s3:object-lock-remaining-retention-days"] = days
	}
	if query := r.URL.Query(); query.Has("X-Amz-Signature") {
		context["s3:authType"] = "REST-QUERY-STRING"
		if signed, err := time.Parse("20060102T150405Z", query.Get("X-Amz-Date")); err == nil {
			context["s3:signatureAge"] = strconv.FormatInt(max(0, time.Since(signed).Milliseconds()), 10)
		}
	}
	if q := (request{f.role, action, resource, context}); looks(r, action) {
		return c.access.would(q)
	} else if !c.access.may(q) {
		return false
	}
	encrypted := c.keys["arn:aws:s3:::"+bucket]
	switch {
	case encrypted == "" || key == "":
		return true
	case action == "s3:GetObject" && r.Method != http.MethodHead:
		return c.mayKey(f.role, "kms:Decrypt", encrypted, "s3")
	case action == "s3:PutObject" && r.URL.Query().Has("uploadId"): // parts are read again when they become one object
		return c.mayKey(f.role, "kms:Decrypt", encrypted, "s3") && c.mayKey(f.role, "kms:GenerateDataKey", encrypted, "s3")
	case action == "s3:PutObject":
		return c.mayKey(f.role, "kms:GenerateDataKey", encrypted, "s3")
	}
	return true
}

// ownerOf is the account of a bucket: that of the stack, unless a test says otherwise.
func (c *Cloud) ownerOf(bucket string) string { return cmp.Or(c.options.Owners[bucket], Account) }

// mayKey decides what a service does with a key for somebody.
func (c *Cloud) mayKey(role, action, key, service string) bool {
	return c.access.may(request{role, action, key, map[string]string{
		"kms:ViaService": service + "." + Region + ".amazonaws.com", "kms:CallerAccount": Account,
	}})
}

// servicesOf is the address at which a function reaches all else.
func (c *Cloud) servicesOf(f *Function) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 16<<20))
		if err != nil {
			return
		}
		if !c.mayService(f, r, body) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"__type":"AccessDeniedException","message":"the role does not allow it"}`)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		c.Services.ServeHTTP(w, r)
	})
}

// mayService decides a request to another service than S3.
func (c *Cloud) mayService(f *Function, r *http.Request, body []byte) bool {
	var in struct {
		SecretId, Name, StateMachineArn, ExecutionArn string
		KeyId                                         string
		FromEmailAddress, ConfigurationSetName        string
		Destination                                   struct{ ToAddresses, CcAddresses, BccAddresses []string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return false
	}
	may := func(action, resource string) bool {
		return c.access.may(request{principal: f.role, action: action, resource: resource})
	}
	switch target := r.Header.Get("X-Amz-Target"); {
	case target == "secretsmanager.GetSecretValue":
		secret := c.secrets[in.SecretId]
		if secret == "" {
			secret = arn("secretsmanager", "secret:"+in.SecretId)
		}
		key := c.keys[secret]
		return may("secretsmanager:GetSecretValue", secret) && (key == "" || c.mayKey(f.role, "kms:Decrypt", key, "secretsmanager"))
	case target == "AmazonSSM.GetParameter":
		return may("ssm:GetParameter", arn("ssm", "parameter/"+strings.TrimPrefix(in.Name, "/")))
	case target == "TrentService.GenerateMac" || target == "TrentService.VerifyMac":
		return may("kms:"+strings.TrimPrefix(target, "TrentService."), in.KeyId)
	case target == "AWSStepFunctions.StartExecution":
		return may("states:StartExecution", in.StateMachineArn)
	case target == "AWSStepFunctions.DescribeExecution":
		return may("states:DescribeExecution", in.ExecutionArn)
	case strings.HasPrefix(r.URL.Path, "/v2/email/outbound-emails"):
		to := slices.Concat(in.Destination.ToAddresses, in.Destination.CcAddresses, in.Destination.BccAddresses)
		return c.maySend(f, in.FromEmailAddress, in.ConfigurationSetName, to)
	}
	c.access.refuse(f.ID + ": " + r.Method + " " + r.URL.Path + " " + r.Header.Get("X-Amz-Target") + " is not understood here")
	return false
}

// maySend decides a finished message: two actions, on the identity that the template makes, on the configuration set, and, as
// an account in the sandbox has it, on the identity of each recipient, which must be one that the account has confirmed.
func (c *Cloud) maySend(f *Function, from, set string, to []string) bool {
	resources := []string{arn("ses", "identity/"+c.identity(from))}
	for _, recipient := range to {
		resources = append(resources, arn("ses", "identity/"+c.identity(recipient)))
	}
	if set != "" {
		resources = append(resources, arn("ses", "configuration-set/"+set))
	}
	for _, action := range []string{"ses:SendEmail", "ses:SendRawEmail"} {
		for _, resource := range resources {
			if !c.access.may(request{f.role, action, resource, map[string]string{"ses:FromAddress": from}}) {
				return false
			}
		}
	}
	return true
}

// identity is the identity that an address belongs to, of the template or of the account: the address itself, or else its
// domain.
func (c *Cloud) identity(address string) string {
	known := slices.Clone(c.options.Verified)
	for _, id := range c.Template.Of("AWS::SES::EmailIdentity") {
		known = append(known, c.resolver.ref(id))
	}
	_, domain, _ := strings.Cut(address, "@")
	for _, wanted := range []string{address, domain} {
		if n := slices.IndexFunc(known, func(name string) bool { return strings.EqualFold(name, wanted) }); n >= 0 {
			return known[n]
		}
	}
	c.access.refuse("ses: nobody verified " + address)
	return address
}

// Put writes an object as the owner of the account does.
func (c *Cloud) Put(ctx context.Context, bucket, key string, data []byte) error {
	_, err := c.S3.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &key, Body: bytes.NewReader(data)})
	return err
}

// Objects reads all of a bucket below a prefix.
func (c *Cloud) Objects(ctx context.Context, bucket, prefix string) (map[string][]byte, error) {
	contents := map[string][]byte{}
	pages := s3.NewListObjectsV2Paginator(c.S3, &s3.ListObjectsV2Input{Bucket: &bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			out, err := c.S3.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: o.Key})
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(out.Body)
			_ = out.Body.Close()
			if err != nil {
				return nil, err
			}
			contents[*o.Key] = data
		}
	}
	return contents, nil
}

// Bucket returns the name of a bucket of the template.
func (c *Cloud) Bucket(id string) string {
	for _, known := range c.Template.Of("AWS::S3::Bucket") {
		if plain(known) == id {
			return c.resolver.name(known)
		}
	}
	return ""
}

// hostOf is the host of a URL.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Host
}
