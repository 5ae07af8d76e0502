// Package deployed says what a deployed lifeboat is: its functions, what each of them may do and finds in its
// environment, and which configurations can run there. The functions and the stack read the same tables, so that they
// cannot drift apart. It knows nothing of Lambda's runtime.
package deployed

import (
	"strings"
	"time"
)

// Version is the version of the functions; that of the command line.
const Version = "0.1.0"

// Function is one function of the stack.
type Function struct {
	Name     string
	Says     string        // what it is for
	Memory   int           // MiB
	Timeout  time.Duration // of one invocation; less than the TimeoutSeconds of the tasks that call it
	Required []string      // environment variables without which it refuses to work
	Optional []string
	Vault    []Grant  // what it does in the vault's bucket
	MAC      []string // what it does with the key that MACs of manifests are made with
	// Sources says that it reads the datasources of sources, Targets that it writes to those of targets.
	Sources, Targets bool
}

// What a function does with the HMAC key of KMS. Only the one that seals makes MACs.
const (
	MakeMAC  = "kms:GenerateMac"
	CheckMAC = "kms:VerifyMac"
)

// Grant is one action of S3 on what lies below a prefix of the vault; on the bucket itself where the prefix is "". A * in a
// prefix stands for one part of a key.
type Grant struct {
	Action string
	Prefix string
}

// on grants actions on each of several prefixes.
func on(prefixes []string, actions ...string) []Grant {
	var grants []Grant
	for _, prefix := range prefixes {
		for _, action := range actions {
			grants = append(grants, Grant{action, prefix})
		}
	}
	return grants
}

func together(lists ...[]Grant) []Grant {
	var all []Grant
	for _, list := range lists {
		all = append(all, list...)
	}
	return all
}

// The actions that the vault uses. A HEAD is a GetObject; a copy of a part is a GetObject here and a PutObject there;
// so is a write that names the version it replaces.
const (
	get    = "s3:GetObject"
	put    = "s3:PutObject"
	remove = "s3:DeleteObject"
	abort  = "s3:AbortMultipartUpload"
	parts  = "s3:ListMultipartUploadParts"
	// On the bucket. Without the right to list it, S3 answers 403 and not 404 for what is not there.
	list    = "s3:ListBucket"
	uploads = "s3:ListBucketMultipartUploads"
	// Only where the stack locks objects: see Locks.
	lock   = "s3:PutObjectRetention"
	locked = "s3:GetObjectRetention"
)

// Locks reports whether an action is of use only in a bucket with Object Lock. Nobody may bypass a lock.
func Locks(action string) bool { return action == lock || action == locked }

var bucket = []string{""}

// always is what all but one read: what vault it is, and whether a record is there.
var always = together(on(bucket, list), on([]string{"vault.json"}, get))

// What functions find in their environment, beside what Lambda itself puts there. See Environment.
var (
	everywhere = []string{"LIFEBOAT_STACK", "LIFEBOAT_CONFIG", "LIFEBOAT_VAULT_BUCKET"}
	anywhere   = []string{"LIFEBOAT_VAULT_OWNER", "LIFEBOAT_DEADLINE_MARGIN", "LIFEBOAT_LOOPBACK"}
)

func with(variables []string, more ...string) []string {
	return append(append([]string{}, variables...), more...)
}

// Functions are the functions of the stack, in the order in which a backup and a restore meet them.
var Functions = []Function{
	{
		Name: "export", Says: "begins a backup, stores the documents and the list of objects, plans the packs",
		Memory: 1769, Timeout: 15 * time.Minute, Sources: true,
		Required: with(everywhere, "LIFEBOAT_SIGNING_KEY"), Optional: with(anywhere, "LIFEBOAT_MAC_KEY"), MAC: []string{CheckMAC},
		Vault: together(always,
			on(bucket, uploads),
			on([]string{"vault.json"}, put),     // at the first backup
			on([]string{"catalog/locks/"}, get), // what is locked is not freed
			on([]string{"catalog/backups/", "catalog/leases/"}, get, put),
			on([]string{"catalog/leases/"}, remove),
			on([]string{"snapshots/"}, get, put, remove, abort),
			on([]string{"packs/"}, get, remove, abort, locked), // of a run that was lost; what is locked stays
			on([]string{"archives/"}, remove, abort),
		),
	},
	{
		Name: "copy", Says: "packs one batch of objects",
		Memory: 1769, Timeout: 15 * time.Minute, Sources: true,
		Required: everywhere, Optional: anywhere,
		Vault: together(always,
			on(bucket, uploads),
			on([]string{"catalog/leases/"}, get, put),
			on([]string{"catalog/backups/", "snapshots/"}, get),            // the record says whether somebody has closed the run
			on([]string{"snapshots/*/*/work/"}, put),                       // no manifest, nor what proves one
			on([]string{"snapshots/*/*/work/", "catalog/leases/"}, remove), // of a run that was closed meanwhile
			on([]string{"packs/"}, get, put, abort),
		),
	},
	{
		Name: "package", Says: "assembles and seals the archive, or cleans up behind a run that failed",
		Memory: 1769, Timeout: 15 * time.Minute,
		Required: with(everywhere, "LIFEBOAT_SIGNING_KEY"), Optional: with(anywhere, "LIFEBOAT_IMMUTABILITY", "LIFEBOAT_MAC_KEY"),
		MAC: []string{MakeMAC, CheckMAC}, // it checks those of earlier backups before it frees what none needs
		Vault: together(always,
			on(bucket, uploads),
			on([]string{"catalog/backups/", "catalog/leases/", "catalog/condemned/", "catalog/locks/"}, get, put),
			on([]string{"catalog/leases/", "catalog/condemned/", "catalog/locks/"}, remove),
			on([]string{"vault.json", "catalog/backups/", "snapshots/", "packs/", "archives/"}, lock, locked),
			on([]string{"snapshots/", "packs/", "archives/"}, get, put, remove, abort),
			on([]string{"archives/"}, parts),
		),
	},
	{
		Name: "notify", Says: "tells people how a backup or a restore ended",
		Memory: 512, Timeout: 5 * time.Minute,
		Required: everywhere,
		Optional: with(anywhere, "LIFEBOAT_PUBLIC_URL", "LIFEBOAT_LINK_KEY", "LIFEBOAT_MAIL", "LIFEBOAT_MAIL_FROM", "LIFEBOAT_SES_CONFIGURATION_SET",
			"LIFEBOAT_WEBHOOK", "LIFEBOAT_WEBHOOK_KEY"),
		Vault: together(always,
			on([]string{"catalog/backups/", "catalog/restores/", "outbox/", "links/"}, get, put),
			on([]string{"restores/"}, get), // which restore an execution has begun
		),
	},
	{
		Name: "restore", Says: "checks what is restored and writes it to its target",
		Memory: 1769, Timeout: 15 * time.Minute, Targets: true,
		Required: everywhere, Optional: with(anywhere, "LIFEBOAT_SIGNING_KEY", "LIFEBOAT_TRUSTED_KEYS", "LIFEBOAT_MAC_KEY"),
		MAC: []string{CheckMAC},
		Vault: together(always,
			on([]string{"catalog/restores/", "catalog/leases/", "catalog/names/", "restores/"}, get, put),
			on([]string{"catalog/leases/", "catalog/names/", "restores/", "incoming/"}, remove),
			on([]string{"catalog/backups/", "snapshots/", "packs/", "archives/"}, get),
			on([]string{"incoming/"}, get, put, abort, parts),
			on([]string{"drills/"}, get, put, remove, abort), // of drills: thrown away again
			on([]string{"catalog/backups/"}, put),            // that a drill has proven it
			on(bucket, uploads),
		),
	},
	{
		Name: "api", Says: "answers the links of mails and the API, and starts what the API is asked for",
		Memory: 512, Timeout: 29 * time.Second,
		Required: with(everywhere, "LIFEBOAT_PUBLIC_URL", "LIFEBOAT_LINK_KEY"),
		Optional: with(anywhere, "LIFEBOAT_BACKUP_MACHINE", "LIFEBOAT_RESTORE_MACHINE"),
		Vault: together(always,
			on([]string{"catalog/backups/", "catalog/restores/", "archives/"}, get),
			on([]string{"links/"}, get, put),
		),
	},
	{
		Name: "start", Says: "starts backups on schedule, and watches that there are some",
		Memory: 256, Timeout: time.Minute,
		Required: with(everywhere, "LIFEBOAT_BACKUP_MACHINE"), Optional: anywhere,
		Vault: together(on(bucket, list), on([]string{"catalog/backups/"}, get)),
	},
}

// Named returns the function of a name.
func Named(name string) (Function, bool) {
	for _, f := range Functions {
		if f.Name == name {
			return f, true
		}
	}
	return Function{}, false
}

// May reports whether the function may do an action on a key, or on the bucket where the key is "".
func (f Function) May(action, key string) bool {
	for _, g := range f.Vault {
		if g.Action == action && g.Covers(key) {
			return true
		}
	}
	return false
}

// Covers reports whether a grant is on a key, or on the bucket where the key is "".
func (g Grant) Covers(key string) bool {
	if !strings.HasSuffix(g.Prefix, "/") {
		return key == g.Prefix
	}
	for part := range strings.SplitSeq(strings.TrimSuffix(g.Prefix, "/"), "/") {
		of, rest, found := strings.Cut(key, "/")
		if !found || of != part && part != "*" {
			return false
		}
		key = rest
	}
	return key != ""
}
