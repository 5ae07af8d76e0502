package zipline

import (
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

// match finds the administrator's folders on the target: by path, or by name and date where they lie elsewhere.
func (m *mending) match() {
	byPath, byDate := map[string]string{}, map[[2]string]string{}
	for id, f := range m.target.folders {
		if m.target.ownerOf(f.owner) == m.plan.Admin.Username {
			byPath[m.target.where(id)] = id
			byDate[[2]string{f.name, f.created}] = id
		}
	}
	for id, f := range m.backup.folders {
		if m.backup.ownerOf(f.owner) != m.plan.Admin.Username {
			continue
		}
		if there := byPath[m.backup.where(id)]; there != "" {
			m.folders[id] = there
		} else if there := byDate[[2]string{f.name, f.created}]; there != "" {
			m.folders[id] = there
		}
	}
}

// parents puts folders into the parents that existed.
func (m *mending) parents(ctx context.Context) error {
	for _, id := range slices.Sorted(maps.Keys(m.folders)) {
		child, parent := m.target.folders[m.folders[id]], m.folders[m.backup.folders[id].parent]
		if parent == "" || child.parent == parent || m.plan.exists[keyDigest("folders", m.backup.where(id))] {
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
		exists := m.plan.exists[keyDigest("folders", m.backup.where(from))]
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
			for _, file := range list(row, "files") {
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
			for _, file := range list(row, "files") {
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
