package standin

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// settingProblem says why a setting can't be set.
type settingProblem struct{ code, message string }

// settingCheck looks at one setting by itself; nil: it can be set.
type settingCheck func(o *Options, value any) *settingProblem

func custom(message string) *settingProblem { return &settingProblem{"custom", message} }

// typed takes values of a type for which more, if any, finds nothing.
func typed(expected string, more ...settingCheck) settingCheck {
	return func(o *Options, value any) *settingProblem {
		if is := kindOf(value, true); is != expected {
			return &settingProblem{"invalid_type", "Invalid input: expected " + expected + ", received " + is}
		}
		for _, check := range more {
			if problem := check(o, value); problem != nil {
				return problem
			}
		}
		return nil
	}
}

// orEmpty takes null too.
func orEmpty(check settingCheck) settingCheck {
	return func(o *Options, value any) *settingProblem {
		if value == nil {
			return nil
		}
		return check(o, value)
	}
}

// must takes texts that fit.
func must(message string, fits func(string) bool) settingCheck {
	return func(_ *Options, value any) *settingProblem {
		if fits(value.(string)) {
			return nil
		}
		return custom(message)
	}
}

func matches(message, pattern string) settingCheck {
	return must(message, regexp.MustCompile(pattern).MatchString)
}

// oneTo takes numbers from 1 to highest.
func oneTo(highest float64) settingCheck {
	return typed("number", func(_ *Options, value any) *settingProblem {
		switch n := value.(float64); {
		case n < 1:
			return &settingProblem{"too_small", "Too small: expected number to be >=1"}
		case n > highest:
			return &settingProblem{"too_big", "Too big: expected number to be <=" + strconv.FormatFloat(highest, 'f', -1, 64)}
		}
		return nil
	})
}

// among takes words of a list.
func among(words ...string) settingCheck {
	return func(_ *Options, value any) *settingProblem {
		if word, ok := value.(string); ok && slices.Contains(words, word) {
			return nil
		}
		return &settingProblem{"invalid_value", `Invalid option: expected one of "` + strings.Join(words, `"|"`) + `"`}
	}
}

// exists takes a path that the instance has.
func exists(message string) settingCheck {
	return typed("string", func(o *Options, value any) *settingProblem {
		if value == "" || slices.Contains(o.Paths, value.(string)) {
			return nil
		}
		return custom(message)
	})
}

// strings of a list, or one text with commas.
func textList(each func(string) bool, message string) settingCheck {
	return func(_ *Options, value any) *settingProblem {
		entries, list := value.([]any)
		if text, ok := value.(string); ok {
			if text == "" {
				return nil
			}
			for entry := range strings.SplitSeq(text, ",") {
				entries = append(entries, strings.TrimSpace(entry))
			}
			list = true
		}
		if !list {
			return &settingProblem{"invalid_union", "Invalid input"}
		}
		for _, entry := range entries {
			if text, ok := entry.(string); !ok || !each(text) {
				return &settingProblem{"invalid_union", message}
			}
		}
		return nil
	}
}

func embed(_ *Options, value any) *settingProblem {
	switch value := value.(type) {
	case nil, map[string]any:
		return nil
	case string:
		if !json.Valid([]byte(value)) {
			return custom("Invalid JSON")
		}
		return nil
	}
	return &settingProblem{"invalid_union", "Invalid input"}
}

// reserved are the routes that files and URLs can't have.
var reserved = []string{"/dashboard", "/auth", "/api", "/raw", "/r", "/invite", "/view", "/robots.txt", "/manifest.json", "/favicon.ico"}

// builtInThemes are some of the themes that each instance has.
var builtInThemes = []string{"builtin:dark_gray", "builtin:light_gray"}

func theme(also ...string) settingCheck {
	return func(o *Options, value any) *settingProblem {
		return among(slices.Concat(also, builtInThemes, o.Themes)...)(o, value)
	}
}

var (
	aFlag   = typed("boolean")
	aText   = typed("string")
	aLink   = typed("string", must("Invalid URL", func(s string) bool { u, err := url.Parse(s); return err == nil && u.Scheme != "" }))
	aSize   = typed("string", must("Value must be greater than 0", func(s string) bool { return bytesOf(s) > 0 }))
	aPeriod = typed("string",
		must("Value must be greater than or equal to 0", func(s string) bool { n, ok := millisecondsOf(s); return ok && n >= 0 }),
		must("Value must be less than or equal to 2147483647ms", func(s string) bool { n, _ := millisecondsOf(s); return n <= 2147483647 }))
	anExpiry = orEmpty(typed("string", must("Value must be greater than 0", func(s string) bool { n, ok := millisecondsOf(s); return ok && n > 0 })))
	aRoute   = typed("string",
		must(`Invalid string: must start with "/"`, func(s string) bool { return strings.HasPrefix(s, "/") }),
		must("Provided route is reserved", func(s string) bool {
			return !slices.ContainsFunc(reserved, func(route string) bool { return strings.HasPrefix(s, route) })
		}))
	aMIME  = typed("string", matches("Invalid MIME type", `^[\w.+-]+/[\w.+*-]+$`))
	aColor = typed("string", matches("Invalid Color", `^#?([a-f0-9]{6}|[a-f0-9]{3})$`))
	anyIDs = textList(regexp.MustCompile(`^\d+$`).MatchString, "Discord ID must be a number")
)

func redirect(provider string) settingCheck {
	path := "/api/auth/oauth/" + provider
	return orEmpty(typed("string", must(`Invalid string: must end with "`+path+`"`, func(s string) bool { return strings.HasSuffix(s, path) })))
}

func anyText(string) bool { return true }

// settingChecks holds one check for each setting that can be set.
var settingChecks = map[string]settingCheck{
	"coreTempDirectory": exists("Directory does not exist"), "coreReturnHttpsUrls": aFlag, "coreTrustProxy": aFlag,
	"coreDefaultDomain": orEmpty(typed("string", matches("Invalid domain format", `^[a-z0-9-.]*$`))),
	"chunksEnabled":     aFlag, "chunksMax": aSize, "chunksSize": aSize,
	"tasksDeleteInterval": aPeriod, "tasksClearInvitesInterval": aPeriod, "tasksMaxViewsInterval": aPeriod,
	"tasksThumbnailsInterval": aPeriod, "tasksMetricsInterval": aPeriod, "tasksCleanThumbnailsInterval": aPeriod,
	"filesRoute": aRoute, "filesLength": oneTo(64), "filesDisabledTypesDefault": orEmpty(aMIME),
	"filesDisabledTypes":      textList(regexp.MustCompile(`^[\w.+-]+/[\w.+*-]+$`).MatchString, "Invalid MIME type"),
	"filesDefaultFormat":      among("random", "date", "uuid", "name", "gfycat"),
	"filesDisabledExtensions": textList(func(s string) bool { return !strings.HasPrefix(s, ".") }, `extension can't include "."`),
	"filesMaxFileSize":        aSize, "filesDefaultExpiration": anExpiry, "filesMaxExpiration": anExpiry, "filesAssumeMimetypes": aFlag,
	"filesDefaultDateFormat": aText, "filesRemoveGpsMetadata": aFlag, "filesRandomWordsNumAdjectives": oneTo(20),
	"filesRandomWordsSeparator": aText, "filesDefaultCompressionFormat": among("jpg", "png", "webp", "jxl"),
	"filesMaxFilesPerUpload": oneTo(2147483647), "filesExtensionlessUrls": aFlag,
	"urlsRoute": aRoute, "urlsLength": oneTo(64),
	"featuresImageCompression": aFlag, "featuresRobotsTxt": aFlag, "featuresHealthcheck": aFlag, "featuresUserRegistration": aFlag,
	"featuresOauthRegistration": aFlag, "featuresDeleteOnMaxViews": aFlag, "featuresThumbnailsEnabled": aFlag,
	"featuresThumbnailsNumberThreads": threads, "featuresThumbnailsFormat": among("jpg", "png", "webp"),
	"featuresThumbnailsInstantaneous": aFlag, "featuresMetricsEnabled": aFlag, "featuresMetricsAdminOnly": aFlag,
	"featuresMetricsShowUserSpecific": aFlag, "featuresVersionChecking": aFlag, "featuresVersionAPI": aLink,
	"invitesEnabled": aFlag, "invitesLength": oneTo(64),
	"websiteTitle": aText, "websiteTitleLogo": orEmpty(aLink), "websiteExternalLinks": links,
	"websiteLoginBackground": orEmpty(aLink), "websiteLoginBackgroundBlur": aFlag,
	"websiteDefaultAvatar": orEmpty(exists("File does not exist")),
	"websiteTos": orEmpty(typed("string", must("File is not a markdown file", func(s string) bool { return s == "" || strings.HasSuffix(s, ".md") }),
		exists("File does not exist"))),
	"websiteThemeDefault": theme("system"), "websiteThemeDark": theme(), "websiteThemeLight": theme(),
	"oauthBypassLocalLogin": aFlag, "oauthLoginOnly": aFlag,
	"oauthDiscordClientId": orEmpty(aText), "oauthDiscordClientSecret": orEmpty(aText), "oauthDiscordRedirectUri": redirect("discord"),
	"oauthDiscordAllowedIds": anyIDs, "oauthDiscordDeniedIds": anyIDs,
	"oauthGoogleClientId": orEmpty(aText), "oauthGoogleClientSecret": orEmpty(aText), "oauthGoogleRedirectUri": redirect("google"),
	"oauthGithubClientId": orEmpty(aText), "oauthGithubClientSecret": orEmpty(aText), "oauthGithubRedirectUri": redirect("github"),
	"oauthOidcClientId": orEmpty(aText), "oauthOidcClientSecret": orEmpty(aText), "oauthOidcAuthorizeUrl": orEmpty(aLink),
	"oauthOidcTokenUrl": orEmpty(aLink), "oauthOidcUserinfoUrl": orEmpty(aLink), "oauthOidcRedirectUri": redirect("oidc"),
	"mfaTotpEnabled": aFlag, "mfaTotpIssuer": aText, "mfaPasskeysEnabled": aFlag,
	"mfaPasskeysRpID":   orEmpty(typed("string", matches("RP ID can only contain letters, numbers, dots, and hyphens.", `^\s*[a-zA-Z0-9.-]*\s*$`))),
	"mfaPasskeysOrigin": orEmpty(typed("string", matches("Origin must be a valid URL starting with http:// or https://", `^\s*(https?://[a-zA-Z0-9.-]+(:\d+)?(/.*)?)?\s*$`))),
	"ratelimitEnabled":  aFlag, "ratelimitMax": positive, "ratelimitWindow": orEmpty(typed("number")), "ratelimitAdminBypass": aFlag,
	"ratelimitAllowList":  textList(anyText, "Invalid input"),
	"httpWebhookOnUpload": orEmpty(aLink), "httpWebhookOnShorten": orEmpty(aLink),
	"discordWebhookUrl": orEmpty(aLink), "discordUsername": orEmpty(aText), "discordAvatarUrl": orEmpty(aLink),
	"discordOnUploadWebhookUrl": orEmpty(aLink), "discordOnUploadUsername": orEmpty(aText), "discordOnUploadAvatarUrl": orEmpty(aLink),
	"discordOnUploadContent": orEmpty(aText), "discordOnUploadEmbed": embed,
	"discordOnShortenWebhookUrl": orEmpty(aLink), "discordOnShortenUsername": orEmpty(aText), "discordOnShortenAvatarUrl": orEmpty(aLink),
	"discordOnShortenContent": orEmpty(aText), "discordOnShortenEmbed": embed,
	"pwaEnabled": aFlag, "pwaTitle": aText, "pwaShortName": aText, "pwaDescription": aText, "pwaThemeColor": aColor, "pwaBackgroundColor": aColor,
	"domains": textList(regexp.MustCompile(`(?i)^[a-z0-9][a-z0-9-_]{0,61}[a-z0-9]?\.([a-z]{1,6}|[a-z0-9-]{1,30}\.[a-z]{2,30})$`).MatchString, "Invalid Domain"),
}

func threads(o *Options, value any) *settingProblem {
	if problem := oneTo(float64(o.CPUs))(o, value); problem == nil || problem.code != "too_big" {
		return problem
	}
	return &settingProblem{"too_big", "Number of threads must be less than or equal to the number of CPUs: " + strconv.Itoa(o.CPUs)}
}

func positive(o *Options, value any) *settingProblem {
	return typed("number", func(_ *Options, value any) *settingProblem {
		if value.(float64) > 0 {
			return nil
		}
		return custom("Value must be greater than 0")
	})(o, value)
}

// links takes a list of names with addresses, also as a text.
func links(o *Options, value any) *settingProblem {
	if text, ok := value.(string); ok {
		if json.Unmarshal([]byte(text), &value) != nil {
			return custom("Invalid JSON")
		}
	}
	form := array(object(field{"name", plain("string")}, field{"url", plain("string")}))
	if len(form(value, true, "")) > 0 {
		return &settingProblem{"invalid_union", "Invalid input"}
	}
	return nil
}

// stored returns a setting as its column takes it: lists that came as texts become lists.
func stored(name string, value any) any {
	text, ok := value.(string)
	switch name {
	case "filesDisabledExtensions", "oauthDiscordAllowedIds", "oauthDiscordDeniedIds", "ratelimitAllowList", "domains":
		if ok {
			list := []string{}
			for entry := range strings.SplitSeq(text, ",") {
				list = append(list, strings.TrimSpace(entry))
			}
			return list
		}
	case "websiteExternalLinks", "discordOnUploadEmbed", "discordOnShortenEmbed":
		if ok {
			return json.RawMessage(text)
		}
	}
	return value
}
