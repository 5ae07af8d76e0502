package standin

import "math"

// importFolders takes one folder of a name for each user, wherever in the tree it stood.
func (m *importing) importFolders() error {
	taken := setOf(m.d.folders, func(f *folderRow) [2]string { return [2]string{f.UserID, f.Name} })
	for _, f := range m.Export4.Data.Folders {
		userID, known := m.users[f.UserID]
		if !known || taken[[2]string{userID, f.Name}] {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		if err := storable(f.Name); err != nil {
			return err
		}
		n := &folderRow{
			base: base{newID(), date(f.CreatedAt), m.now}, Name: f.Name, Public: f.Public,
			AllowUploads: f.AllowUploads, UserID: userID,
		}
		m.d.folders = append(m.d.folders, n)
		taken[[2]string{userID, f.Name}] = true
		m.folders[f.ID] = n.ID
		m.rows++
	}
	return nil
}

// importParents nests the folders that came in with their parents. Nobody looks for circles.
func (m *importing) importParents() error {
	rows := map[string]*folderRow{}
	for _, f := range m.d.folders {
		rows[f.ID] = f
	}
	for _, f := range m.Export4.Data.Folders {
		child, parent := m.folders[f.ID], m.folders[value(f.ParentID)]
		if child == "" || parent == "" {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		row := rows[child]
		row.ParentID, row.updated = &parent, m.now
		m.rows++
	}
	return nil
}

// importFiles looks for the name as the export has it, and stores it as storedName makes it.
func (m *importing) importFiles() error {
	taken := setOf(m.d.files, func(f *fileRow) string { return f.Name })
	for _, f := range m.Export4.Data.Files {
		userID, known := m.users[value(f.UserID)]
		if !known || taken[f.Name] {
			continue
		}
		if err := m.before(); err != nil {
			return err
		}
		stored, err := m.s.options.Version.storedName(f.Name)
		if err == nil {
			err = storable(stored, value(f.OriginalName))
		}
		if err == nil && !f.Size.whole(math.MaxInt64) {
			err = exception{"a size is no whole number"}
		}
		if err == nil {
			err = integers(&f.Views, f.MaxViews)
		}
		if err != nil {
			return err
		}
		n := *f
		n.ID, n.CreatedAt, n.updated, n.DeletesAt, n.Name = newID(), date(f.CreatedAt), m.now, dateOrNull(f.DeletesAt), stored
		n.UserID, n.FolderID = &userID, nil
		if folder, came := m.folders[value(f.FolderID)]; came {
			n.FolderID = &folder
		}
		m.d.files = append(m.d.files, &n)
		taken[stored] = true
		m.files[f.ID] = n.ID
		m.rows++
	}
	return nil
}
