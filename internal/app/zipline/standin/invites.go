package standin

import "slices"

var inviteRoutes = []route{
	{pattern: "GET /api/auth/invites", least: admin, run: listInvites},
	{pattern: "POST /api/auth/invites", least: admin, seconds: 1, run: postInvite, body: object(
		field{"expiresAt", text}, field{"maxUses", optional(least(1))},
	)},
	{pattern: "GET /api/auth/invites/{id}", least: admin, run: getInvite},
	{pattern: "DELETE /api/auth/invites/{id}", least: admin, run: deleteInvite},
}

type inviterView struct {
	Username string `json:"username"`
	ID       string `json:"id"`
	Role     string `json:"role"`
}

// inviteView is what the API shows of an invite; the order of the keys is Zipline's.
type inviteView struct {
	ID        string       `json:"id"`
	CreatedAt string       `json:"createdAt"`
	UpdatedAt string       `json:"updatedAt"`
	ExpiresAt *string      `json:"expiresAt"`
	Code      string       `json:"code"`
	Uses      number       `json:"uses"`
	MaxUses   *number      `json:"maxUses"`
	InviterID string       `json:"inviterId"`
	Inviter   *inviterView `json:"inviter,omitempty"`
}

func (d *Database) inviteView(i *inviteRow) inviteView {
	v := inviteView{i.ID, i.CreatedAt, i.updated, i.ExpiresAt, i.Code, i.Uses, i.MaxUses, i.InviterID, nil}
	if u := d.user(i.InviterID); u != nil {
		v.Inviter = &inviterView{u.Username, u.ID, u.Role}
	}
	return v
}

func listInvites(c *call) (any, error) {
	all := []inviteView{}
	for _, i := range c.d.invites {
		all = append(all, c.d.inviteView(i))
	}
	return all, nil
}

// postInvite makes an invite. A date that is over, or no date, is none, as in Zipline.
func postInvite(c *call) (any, error) {
	i := &inviteRow{
		base: base{newID(), c.now, c.now}, Code: newID()[2:8], MaxUses: c.numberOrNull("maxUses"), InviterID: c.user.ID,
	}
	expires, _ := c.text("expiresAt")
	if at, ok := c.s.expiry(expires); ok {
		i.ExpiresAt = &at
	}
	c.d.invites = append(c.d.invites, i)
	return c.d.inviteView(i), nil
}

func (c *call) invite() (*inviteRow, error) {
	id := c.r.PathValue("id")
	i := find(c.d.invites, func(i *inviteRow) bool { return i.ID == id || i.Code == id })
	if i == nil {
		return nil, fail(4005, "Invite not found through ID or code")
	}
	return i, nil
}

func getInvite(c *call) (any, error) {
	i, err := c.invite()
	if err != nil {
		return nil, err
	}
	return c.d.inviteView(i), nil
}

// deleteInvite takes an id; anyone above USER may delete anyone's.
func deleteInvite(c *call) (any, error) {
	i, err := c.invite()
	if err != nil || i.ID != c.r.PathValue("id") {
		return nil, fail(4004, "Invite not found")
	}
	view := c.d.inviteView(i)
	c.d.invites = slices.DeleteFunc(c.d.invites, func(o *inviteRow) bool { return o == i })
	return view, nil
}
