package zipline

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"lifeboat/internal/app"
)

// mending joins what an import brought in with what the administrator had before: an import can't name rows that exist,
// so that folders and files come in beside their existing folder, and tags without the existing files.
type mending struct {
	*Target
	plan           *plan
	backup, target *view
	folders        map[string]string // id in the backup to id on the target, of the administrator's folders
}

// mend is a stage of Replay; it has nothing to do where nothing existed. All of it is the administrator's own, which
// the API lets it change.
func (t *Target) mend(ctx context.Context, r *app.Replay, p *plan) (bool, error) {
	if len(p.Exists) == 0 {
		return true, nil
	}
	m := &mending{Target: t, plan: p, backup: backupView(r, p), folders: map[string]string{}}
	if err := m.backup.learn(ctx); err != nil {
		return false, err
	}
	m.target = t.targetView(t.exportOf(false).once(), p, m.backup)
	if err := m.target.learn(ctx); err != nil {
		return false, err
	}
	m.match()
	for _, step := range []func(context.Context) error{m.parents, m.files, m.tags} {
		if err := step(ctx); err != nil {
			return false, err
		}
	}
	return true, nil
}

// match finds the administrator's folders on the target: by path, or by name and date where they lie elsewhere. Where
// several are called alike, each is found once, and those that existed are found among those that the target had.
func (m *mending) match() {
	byPath, byDate := map[[2]string][]string{}, map[[2]string][]string{}
	for _, id := range slices.Sorted(maps.Keys(m.target.folders)) {
		if f := m.target.folders[id]; m.target.ownerOf(f.owner) == m.plan.Admin.Username {
			path, date := [2]string{m.target.where(id)}, [2]string{f.name, f.created}
			byPath[path], byDate[date] = append(byPath[path], id), append(byDate[date], id)
		}
	}
	taken := map[string]bool{}
	take := func(id string, all []string) {
		existed := m.existed(id)
		at := slices.IndexFunc(all, func(there string) bool { return !taken[there] && m.plan.had("folders", there) == existed })
		if at >= 0 {
			m.folders[id], taken[all[at]] = all[at], true
		}
	}
	ids := slices.SortedFunc(maps.Keys(m.backup.folders), func(a, b string) int {
		return cmp.Compare(m.backup.folders[a].order, m.backup.folders[b].order)
	})
	ids = slices.DeleteFunc(ids, func(id string) bool { return m.backup.ownerOf(m.backup.folders[id].owner) != m.plan.Admin.Username })
	for _, id := range ids {
		take(id, byPath[[2]string{m.backup.where(id)}])
	}
	for _, id := range ids {
		if f := m.backup.folders[id]; m.folders[id] == "" {
			take(id, byDate[[2]string{f.name, f.created}])
		}
	}
}

// existed reports whether the target had a folder of the backup before this restore.
func (m *mending) existed(id string) bool { return m.plan.exists[m.backup.folderDigest(id)] }

// parents puts folders into the parents that existed.
func (m *mending) parents(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(m.folders)) {
		child, parent := m.target.folders[m.folders[id]], m.folders[m.backup.folders[id].parent]
		if parent == "" || child.parent == parent || m.existed(id) {
			continue
		}
		if err := m.patch(ctx, "/api/user/folders/"+url.PathEscape(child.id), map[string]any{"parentId": parent}); err != nil {
			return err
		}
	}
	return nil
}

// files puts files into the folders that existed.
func (m *mending) files(ctx context.Context) error {
	wanted := map[uint64]string{} // hash of the name to the folder's id on the target
	_, err := m.backup.open.walk(ctx, func(array string, _ int64, row fields) error {
		if array != "files" || row == nil || !m.plan.change(array, row) {
			return nil
		}
		from := str(row, "folderId")
		exists := m.existed(from)
		if exists && !m.plan.exists[keyDigest("files", str(row, "name"))] {
			wanted[digestOf("name", str(row, "name"))] = m.folders[from]
		}
		return nil
	}, nil)
	if err != nil || len(wanted) == 0 {
		return err
	}
	into := map[string][]string{}
	_, err = m.target.open.walk(ctx, func(array string, _ int64, row fields) error {
		if folder := wanted[digestOf("name", str(row, "name"))]; array == "files" && folder != "" && str(row, "folderId") != folder {
			into[folder] = append(into[folder], str(row, "id"))
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	for _, folder := range slices.Sorted(maps.Keys(into)) {
		for ids := range slices.Chunk(into[folder], perDelete) {
			if err := m.patch(ctx, filesPath, map[string]any{"files": ids, "folder": folder}); err != nil {
				return err
			}
			if err := m.client.sleep(ctx, 2*time.Second); err != nil {
				return err
			}
		}
	}
	return nil
}

// tags gives the administrator's new tags the files that existed, and the tags that existed the new files.
func (m *mending) tags(ctx context.Context) error {
	wanted, err := m.tagging(ctx)
	if err != nil || len(wanted) == 0 {
		return err
	}
	ids, has, tags := map[uint64]string{}, map[string][]string{}, map[string]string{} // of the target: files by the hash of their name; tags of a file; tags by name
	_, err = m.target.open.walk(ctx, func(array string, _ int64, row fields) error {
		switch array {
		case "files":
			name := digestOf("name", str(row, "name"))
			if owner := m.target.ownerOf(row["userId"]); wanted[name] != nil && owner == m.plan.Admin.Username {
				ids[name] = str(row, "id")
			}
		case "userTags":
			tags[str(row, "name")] = str(row, "id")
			for _, file := range filesOf(row) {
				has[file] = append(has[file], str(row, "id"))
			}
		}
		return nil
	}, nil)
	if err != nil {
		return err
	}
	more := map[string]bool{}
	for name, keys := range wanted {
		for _, key := range keys {
			id, tag := ids[name], tags[key]
			if id != "" && tag != "" && !slices.Contains(has[id], tag) {
				has[id], more[id] = append(has[id], tag), true
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(more)) {
		if err := m.patch(ctx, "/api/user/files/"+url.PathEscape(id), map[string]any{"tags": has[id]}); err != nil {
			return err
		}
	}
	return nil
}

// tagging finds in the backup which tags a file has that an import can't give it, by the hash of its name: of the two,
// one existed and one is new.
func (m *mending) tagging(ctx context.Context) (map[uint64][]string, error) {
	wanted, existed := map[uint64][]string{}, map[uint64]bool{}
	err := m.backup.each(ctx, func(array, key string, _ []trait, row fields) error {
		there := m.plan.exists[keyDigest(array, key)]
		switch {
		case array == "files" && there:
			existed[digestOf("name", key)] = true
		case array == "userTags":
			for _, file := range filesOf(row) {
				if name := m.backup.tagged[digestOf("id", file)]; name != 0 && existed[name] != there {
					wanted[name] = append(wanted[name], key)
				}
			}
		}
		return nil
	})
	return wanted, err
}

// patch changes one thing. What the target refuses is left for Confirm to report.
func (m *mending) patch(ctx context.Context, path string, body any) error {
	answer, err := m.call(ctx, http.MethodPatch, path, "", body)
	if err != nil {
		return fmt.Errorf("join what came in with what was there: %w", err)
	}
	if answer.StatusCode >= 500 || answer.StatusCode == http.StatusTooManyRequests {
		return refused("join what came in with what was there", answer)
	}
	return nil
}
