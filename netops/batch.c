/* A queue of requests that lie behind each other in one buffer, as they go out. Each has a row that
 * remembers what a refusal must be able to say; the words are only put together for those that are
 * refused. Each request asks for an ack and is matched with it by its number: a number that is
 * not ours, or one that was answered before, changes nothing. */
#include "netops/batch.h"
#include <assert.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

enum {
    ANSWER_MS = 10000,
    SEND_PLAIN = 160 * 1024, /* what one send takes with the kernel's default buffers … */
    ACKS_PLAIN = 96,         /* … and the acks they hold: 2 KiB each at worst */
    SEND_MOST = 1024 * 1024, /* … and with forced ones */
    ACKS_MOST = 2048,
    ACK_ROOM = 1024, /* doubled by the kernel */
    MOST_LOSSES = 1000,
};

struct row {
    uint32_t at; /* in the buffer */
    uint32_t tag;
    const char *op;
    net_describe_fn describe;
    int forgive;
    bool answered;
    char name[IFNAMSIZ];
};
struct mark {
    uint32_t row, offset, tag; /* offset of the attribute in its message */
};

struct net_batch {
    struct net_port *port;
    uint8_t *bytes;
    size_t size, room;
    struct row *rows;
    size_t n_rows, rows_room;
    struct mark *marks;
    size_t n_marks, marks_room;
    struct nlmsghdr *open; /* between begin and end */
    uint32_t first;        /* number of row 0 */
    struct net_error lost; /* the first request that could not be queued; code 0: none */
};

int net_batch_over(struct net_port *p, struct net_batch **out, struct net_error *err)
{
    struct net_batch *b = calloc(1, sizeof *b);
    if (!b)
        return net_fail(err, ENOMEM, "open", "a batch");
    b->port = p;
    *out = b;
    return 0;
}

int net_batch_open(struct net_batch **out, struct net_error *err)
{
    scoped(net_port_closep) struct net_port *p = NULL;
    int r = net_port_open(NETLINK_ROUTE, &p, err);
    if (r)
        return r;
    r = net_batch_over(p, out, err);
    if (!r)
        (void)steal(p);
    return r;
}

void net_batch_close(struct net_batch *b)
{
    if (!b)
        return;
    net_port_close(b->port);
    free(b->bytes);
    free(b->rows);
    free(b->marks);
    free(b);
}

struct net_port *net_batch_port(struct net_batch *b)
{
    return b->port;
}

size_t net_batch_count(const struct net_batch *b)
{
    return b->n_rows;
}

void net_batch_forget(struct net_batch *b)
{
    b->n_rows = b->n_marks = b->size = 0;
    b->open = NULL;
    b->lost.code = 0;
}

/* `*p` holds `room` things of `each` bytes; make it `want` or more. */
static int grow(void *p, size_t each, size_t *room, size_t want)
{
    void *old;
    memcpy(&old, p, sizeof old);
    if (want <= *room)
        return 0;
    size_t next = *room + *room / 2;
    if (next < want)
        next = want;
    void *new = reallocarray(old, next, each);
    if (!new)
        return -ENOMEM;
    memcpy(p, &new, sizeof new);
    *room = next;
    return 0;
}

int net_batch_lose(struct net_batch *b, const struct net_request *r, int code)
{
    if (!b->lost.code) {
        net_fail(&b->lost, code, r->op, "%s%.15s%s", r->name ? "'" : "", r->name ? r->name : "",
                 r->name ? "'" : "");
        b->lost.tag = r->tag;
    }
    return -code;
}

struct nlmsghdr *net_batch_begin(struct net_batch *b, const struct net_request *r)
{
    assert(!b->open);
    if (grow(&b->rows, sizeof *b->rows, &b->rows_room, b->n_rows + 1 > 16 ? b->n_rows + 1 : 16) ||
        grow(&b->bytes, 1, &b->room, b->size + NET_REQUEST_MAX)) {
        net_batch_lose(b, r, ENOMEM);
        return NULL;
    }
    struct row *row = &b->rows[b->n_rows];
    *row = (struct row){.at = (uint32_t)b->size,
                        .tag = r->tag,
                        .op = r->op,
                        .describe = r->describe,
                        .forgive = r->forgive};
    if (r->name)
        strncpy(row->name, r->name, sizeof row->name - 1);

    struct nlmsghdr *m = mnl_nlmsg_put_header(b->bytes + b->size);
    m->nlmsg_type = r->type;
    m->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | r->flags);
    memcpy(mnl_nlmsg_put_extra_header(m, r->body_size), r->body, r->body_size);
    b->open = m;
    return m;
}

void net_batch_mark(struct net_batch *b, uint32_t tag)
{
    assert(b->open);
    if (!tag ||
        grow(&b->marks, sizeof *b->marks, &b->marks_room, b->n_marks + 1 > 8 ? b->n_marks + 1 : 8))
        /* a mark that could not be noted only makes an error less exact: the request's own tag
         * remains */
        return;
    b->marks[b->n_marks++] =
        (struct mark){.row = (uint32_t)b->n_rows, .offset = b->open->nlmsg_len, .tag = tag};
}

void net_batch_end(struct net_batch *b)
{
    assert(b->open && b->open->nlmsg_len <= NET_REQUEST_MAX);
    b->size += NLMSG_ALIGN((size_t)b->open->nlmsg_len);
    b->n_rows++;
    b->open = NULL;
}

/* ---- sending ---- */

struct sending {
    struct net_batch *b;
    size_t from, to; /* rows that are out */
    size_t left;     /* of them, not yet answered */
    net_refused_fn refused;
    void *arg;
    struct net_error first; /* refusal; code 0: none yet */
};

static void refusal(struct net_batch *b, size_t i, int code, uint32_t offset, struct net_error *e)
{
    const struct row *row = &b->rows[i];
    char object[sizeof e->object];
    char kernel[sizeof e->kernel];

    memcpy(kernel, e->kernel, sizeof kernel);
    object[0] = '\0';
    if (row->describe)
        row->describe((const void *)(b->bytes + row->at), row->name, object, sizeof object);
    net_fail(e, code, row->op, "%s", object);
    memcpy(e->kernel, kernel, sizeof e->kernel);
    e->tag = row->tag;
    if (offset)
        for (size_t k = 0; k < b->n_marks; k++)
            if (b->marks[k].row == i && b->marks[k].offset == offset)
                e->tag = b->marks[k].tag;
}

static void refuse(struct sending *s, const struct net_error *e)
{
    if (!s->first.code)
        s->first = *e;
    if (s->refused)
        s->refused(s->arg, e);
}

static int answer(void *arg, const struct nlmsghdr *m)
{
    struct sending *s = arg;
    uint32_t i = m->nlmsg_seq - s->b->first; /* wraps together with the numbers */

    if (m->nlmsg_type != NLMSG_ERROR || i < s->from || i >= s->to || s->b->rows[i].answered)
        return 0;
    struct net_error e = {0};
    uint32_t offset;
    int code = net_answer_code(m, &e, &offset);
    s->b->rows[i].answered = true;
    s->left--;
    if (code && code != s->b->rows[i].forgive) {
        refusal(s->b, i, code, offset, &e);
        refuse(s, &e);
    }
    return 0;
}

/* Rows without an answer: each is a refusal of its own, since nobody knows what became of it, or
 * it never went out. */
static void unanswered(struct sending *s, size_t from, size_t to, int code)
{
    for (size_t i = from; i < to; i++) {
        if (s->b->rows[i].answered)
            continue;
        struct net_error e = {0};
        refusal(s->b, i, code, 0, &e);
        refuse(s, &e);
    }
}

static int exchange(struct sending *s)
{
    struct net_batch *b = s->b;
    size_t start = b->rows[s->from].at;
    size_t end = s->to < b->n_rows ? b->rows[s->to].at : b->size;

    int r = net_port_send(b->port, b->bytes + start, end - start, NULL);
    if (r) {
        unanswered(s, s->from, s->to, -r);
        return r;
    }
    int64_t deadline = net_port_deadline(ANSWER_MS);
    int lost = 0, losses = 0;
    s->left = s->to - s->from;
    while (s->left) {
        r = net_port_receive(b->port, NET_SLOT_ACK, s->left > 64 ? 64 : (unsigned)s->left,
                             lost ? NET_NO_WAIT : deadline, answer, s);
        if (r == -ENOBUFS || r == -EMSGSIZE || r == -EBADMSG) {
            lost = lost ? lost : r; /* what is still there is worth hearing */
            if (++losses < MOST_LOSSES)
                continue;
        }
        if (r == -EAGAIN && lost)
            r = lost;
        if (r) {
            unanswered(s, s->from, s->to, -r);
            return r;
        }
    }
    return 0;
}

int net_batch_send(struct net_batch *b, net_refused_fn refused, void *arg, struct net_error *err)
{
    struct sending s = {.b = b, .refused = refused, .arg = arg};
    size_t n = b->n_rows, send_most = SEND_PLAIN, acks_most = ACKS_PLAIN;

    assert(!b->open);
    if (!n && !b->lost.code)
        return 0;
    if (b->lost.code) { /* what was to come before or behind it may not go alone */
        refuse(&s, &b->lost);
        for (size_t i = 0; i < n; i++)
            b->rows[i].answered = false;
        unanswered(&s, 0, n, ECANCELED);
        n = 0;
    }
    for (size_t i = 0; i < n; i++) {
        struct nlmsghdr *m = (void *)(b->bytes + b->rows[i].at);
        m->nlmsg_seq = net_port_number(b->port);
        if (!i)
            b->first = m->nlmsg_seq;
    }
    if (n > ACKS_PLAIN || b->size > SEND_PLAIN) {
        size_t acks = n < ACKS_MOST ? n : ACKS_MOST;
        size_t bytes = b->size < SEND_MOST ? b->size : SEND_MOST;
        if (!net_port_room(b->port, bytes, acks * ACK_ROOM)) {
            acks_most = acks > ACKS_PLAIN ? acks : ACKS_PLAIN;
            send_most = bytes > SEND_PLAIN ? bytes : SEND_PLAIN;
        }
    }
    for (s.to = 0; s.to < n;) {
        s.from = s.to;
        size_t start = b->rows[s.from].at;
        do
            s.to++;
        while (s.to < n && s.to - s.from < acks_most &&
               (s.to + 1 < n ? b->rows[s.to + 1].at : b->size) - start <= send_most);
        if (exchange(&s)) {
            unanswered(&s, s.to, n, ECANCELED);
            break;
        }
    }
    net_batch_forget(b);
    if (!s.first.code)
        return 0;
    if (err)
        *err = s.first;
    return -s.first.code;
}
