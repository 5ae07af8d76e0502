package standin

import (
	"encoding/json"
	"strconv"
	"strings"
)

// importBody is what POST /api/server/import/v4 takes.
var importBody = object(
	field{"export4", object(
		field{"versions", object(field{"zipline", text}, field{"node", text}, field{"export", oneOf("4")})},
		field{"request", object(
			field{"user", exporter}, field{"date", text},
			field{"os", object(
				field{"platform", union("aix", "darwin", "freebsd", "linux", "openbsd", "sunos", "win32", "android")},
				field{"arch", union("arm", "arm64", "ia32", "loong64", "mips", "mipsel", "ppc", "ppc64", "riscv64", "s390", "s390x", "x64")},
				field{"cpus", num}, field{"hostname", text}, field{"release", text},
			)},
			field{"env", record(text)},
		)},
		field{"data", object(dataFields...)},
	)},
	field{"config", object(field{"settings", optional(truth)}, field{"mergeCurrentUser", nullish(text)})},
)

var dataFields = []field{
	{"settings", anything},
	{"users", rows(
		field{"username", text}, field{"password", nullish(text)}, field{"avatar", nullish(text)},
		field{"role", oneOf("USER", "ADMIN", "SUPERADMIN")}, field{"view", record(anything)}, field{"totpSecret", nullish(text)},
	)},
	{"userPasskeys", rows(field{"lastUsed", nullish(dated)}, field{"name", text}, field{"reg", record(anything)}, field{"userId", text})},
	{"userQuotas", rows(
		field{"filesQuota", oneOf("BY_BYTES", "BY_FILES")}, field{"maxBytes", nullish(text)}, field{"maxFiles", nullish(num)},
		field{"maxUrls", nullish(num)}, field{"userId", nullish(text)},
	)},
	{"userOauthProviders", rows(
		field{"provider", oneOf("DISCORD", "GOOGLE", "GITHUB", "OIDC")}, field{"username", text}, field{"accessToken", text},
		field{"refreshToken", nullish(text)}, field{"oauthId", nullish(text)}, field{"userId", text},
	)},
	{"userTags", rows(field{"name", text}, field{"color", nullish(text)}, field{"files", array(text)}, field{"userId", text})},
	{"invites", rows(
		field{"expiresAt", nullish(dated)}, field{"code", text}, field{"uses", num}, field{"maxUses", nullish(num)}, field{"inviterId", text},
	)},
	{"folders", rows(
		field{"name", text}, field{"public", truth}, field{"allowUploads", truth}, field{"files", array(text)}, field{"userId", text},
		field{"parentId", nullish(text)},
	)},
	{"urls", rows(
		field{"code", text}, field{"vanity", nullish(text)}, field{"destination", text}, field{"views", num},
		field{"maxViews", nullish(num)}, field{"password", nullish(text)}, field{"enabled", truth}, field{"userId", nullish(text)},
	)},
	{"files", rows(
		field{"deletesAt", nullish(dated)}, field{"name", text}, field{"originalName", nullish(text)}, field{"size", num},
		field{"type", text}, field{"views", num}, field{"maxViews", nullish(num)}, field{"favorite", truth},
		field{"password", nullish(text)}, field{"userId", orNull(text)}, field{"folderId", nullish(text)},
	)},
	{"thumbnails", rows(field{"path", text}, field{"fileId", text})},
	{"metrics", rows(field{"data", record(anything)})},
}

// rows is an array of objects that have an id and a date besides the fields. They may still be text: then one at a time
// is decoded.
func rows(fields ...field) shape {
	entry := object(append([]field{{"id", text}, {"createdAt", validDate}}, fields...)...)
	decoded := array(entry)
	return func(value any, given bool, at string) (problems []issue) {
		texts, are := value.([]json.RawMessage)
		if !are {
			return decoded(value, given, at)
		}
		for i, text := range texts {
			problems = append(problems, entry(whole(text), true, at+"/"+strconv.Itoa(i))...)
		}
		return problems
	}
}

// whole decodes valid JSON.
func whole(text json.RawMessage) (value any) {
	_ = json.Unmarshal(text, &value) // was found valid
	return value
}

// branch decodes the objects on a path; the arrays in the last one stay rows of text: an export may be large.
func branch(text json.RawMessage, path ...string) any {
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil || members == nil {
		return whole(text)
	}
	all := make(map[string]any, len(members))
	for name, member := range members {
		var rows []json.RawMessage
		switch {
		case len(path) > 0 && name == path[0]:
			all[name] = branch(member, path[1:]...)
		case len(path) == 0 && json.Unmarshal(member, &rows) == nil && rows != nil:
			all[name] = rows
		default:
			all[name] = whole(member)
		}
	}
	return all
}

// validDate is a date that must be there; dated one that may be empty.
var (
	validDate = such(text, "Invalid date", func(value any) bool {
		_, ok := parseDate(value.(string))
		return ok
	})
	dated = such(text, "Invalid date", func(value any) bool {
		_, ok := parseDate(value.(string))
		return ok || value == ""
	})
)

// exporter is "<id>:<name>": exactly one colon, with something on both sides.
func exporter(value any, _ bool, at string) []issue {
	if user, ok := value.(string); ok && soundExporter(user) {
		return nil
	}
	return problem(at, "custom", "Invalid input", nil)
}

func soundExporter(user string) bool {
	id, name, found := strings.Cut(user, ":")
	return found && id != "" && name != "" && !strings.Contains(name, ":")
}
