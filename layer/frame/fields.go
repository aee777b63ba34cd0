package frame

// The fields of every message in the order of their struct: requests, then replies.

func (m *HelloRequest) fields(c *codec) {
	c.u32(&m.PID)
	c.u32(&m.PPID)
	c.u8(&m.How)
	c.str(&m.Exe)
	c.str(&m.Argv0)
}

func (m *OpenRequest) fields(c *codec) {
	c.u32(&m.Flags)
	c.u32(&m.Mode)
	c.str(&m.Path)
}

func (m *OpenHowRequest) fields(c *codec) {
	c.u32(&m.Flags)
	c.u32(&m.Mode)
	c.u32(&m.Ways)
	c.str(&m.From)
	c.str(&m.Path)
}

func (m *DeviceRequest) fields(c *codec) {
	c.u64(&m.Dev)
}

func (m *StatRequest) fields(c *codec) {
	c.u8(&m.NoFollow)
	c.str(&m.Path)
}

func (m *AccessRequest) fields(c *codec) {
	c.u32(&m.Mode)
	c.str(&m.Path)
}

func (m *PathRequest) fields(c *codec) {
	c.str(&m.Path)
}

func (m *ChangeRequest) fields(c *codec) {
	c.u16((*uint16)(&m.Op))
	for _, v := range []*uint32{&m.Flags, &m.Mode, &m.UID, &m.GID} {
		c.u32(v)
	}
	for _, v := range []*uint64{&m.Size, &m.Atime, &m.Mtime} {
		c.u64(v)
	}
	c.str(&m.Path)
	c.str(&m.Other)
}

func (m *LookupRequest) fields(c *codec) {
	c.u8(&m.Family)
	c.str(&m.Name)
}

func (m *ReverseRequest) fields(c *codec) {
	c.addr(&m.Addr)
}

func (m *ConnectRequest) fields(c *codec) {
	c.u8(&m.Flags)
	c.addr(&m.Addr)
}

func (m *UnixRequest) fields(c *codec) {
	c.u8(&m.Flags)
	c.str(&m.Name)
}

func (m *ConnectedRequest) fields(c *codec) {
	c.u64(&m.Attempt)
	c.addr(&m.Local)
}

func (m *EndpointRequest) fields(c *codec) {
	c.addr(&m.Local)
	c.addr(&m.Peer)
}

func (m *SockErrorRequest) fields(c *codec) {
	c.addr(&m.Local)
}

func (m *BindRequest) fields(c *codec) {
	c.u32(&m.Errno)
	c.addr(&m.Requested)
}

func (m *ListenRequest) fields(c *codec) {
	c.u8(&m.V6Only)
	c.addr(&m.Requested)
	c.addr(&m.Actual)
}

func (m *ExecRequest) fields(c *codec) {
	c.u8(&m.Flags)
	c.str(&m.Path)
	c.str(&m.Cwd)
	c.str(&m.Argv0)
	c.str(&m.PathVar)
	c.str(&m.DeveloperDir)
}

func (m *ArgvRequest) fields(c *codec) {
	c.u8(&m.Cut)
	c.strs(&m.Words)
}

func (m *SuperviseRequest) fields(c *codec) {
	c.u32(&m.PPID)
	c.u32(&m.Socket)
	c.u64(&m.Scratch)
	c.str(&m.Program)
	c.str(&m.Cwd)
}

func (m *ListenerRequest) fields(c *codec) {
	c.u32(&m.Descriptor)
	c.u32(&m.Errno)
}

func (m *DatagramRequest) fields(c *codec) {
	c.addr(&m.Addr)
}

func (m *StatReply) fields(c *codec) {
	for _, v := range []*uint64{
		&m.Dev, &m.Ino, &m.Mode, &m.Nlink, &m.UID, &m.GID, &m.Rdev, &m.Size, &m.Blksize, &m.Blocks,
		&m.Atime, &m.Mtime, &m.Ctime,
	} {
		c.u64(v)
	}
	c.u32(&m.Life)
	c.str(&m.Neighbours)
}

func (m *StatfsReply) fields(c *codec) {
	for _, v := range []*uint64{
		&m.Type, &m.Bsize, &m.Frsize, &m.Blocks, &m.Bfree, &m.Bavail, &m.Files, &m.Ffree, &m.Fsid, &m.Namelen, &m.Flags,
	} {
		c.u64(v)
	}
}

func (m *PathReply) fields(c *codec) {
	c.str(&m.Path)
}

func (m *LookupReply) fields(c *codec) {
	c.str(&m.Canonical)
	c.addrs(&m.Addrs)
}

func (m *NameReply) fields(c *codec) {
	c.str(&m.Name)
}

func (m *ConnectReply) fields(c *codec) {
	c.u64(&m.Attempt)
	c.addr(&m.Relay)
}

func (m *EndpointReply) fields(c *codec) {
	c.addr(&m.Local)
	c.addr(&m.Peer)
}

func (m *SuperviseReply) fields(c *codec) {
	c.str(&m.Filter)
}

func (m *BindReply) fields(c *codec) {
	c.u16(&m.Port)
}

func (m *ExecReply) fields(c *codec) {
	c.u8(&m.Verdict)
	c.u8(&m.Flags)
	c.str(&m.Path)
	c.u16(&m.Skip)
	c.strs(&m.Words)
	c.strs(&m.Edits)
}
