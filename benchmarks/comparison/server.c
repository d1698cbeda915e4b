/* The benchmarks' server: one thread, epoll, HTTP/1.1 with keep-alive, plain or TLS.
 *
 *     server REPLIES LATENCY_MS [CERTIFICATE KEY]
 *
 * It listens on a free port of 127.0.0.1, prints the port, and serves until its input ends, so
 * that it cannot outlive who started it. REPLIES has a line "path prefix<TAB>status<TAB>body"
 * for each kind of reply. A reply leaves LATENCY_MS after its request was read completely.
 *
 * GET /stats returns, as JSON, how many POSTs were read completely since the last GET /reset,
 * the bytes of their bodies, how many connections brought one, and the most that waited for
 * their reply at one time. Requests may arrive in any pieces, and several in one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#ifdef WITH_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>
#else
typedef void SSL;
#endif

#define HEAD_MAX 65536
#define BODY_MAX (16u << 20)

typedef struct {
  char *data;
  size_t begin, end, size;
} Buffer;

typedef struct Connection {
  int fd;
  SSL *ssl;
  Buffer in, out;
  size_t head;      /* length of the head of the request being read; 0: not read yet */
  size_t body;      /* length of its body */
  int counted;      /* whether it has brought a request since the last reset */
  int waiting;      /* replies that are not due yet */
  int closing;      /* to be closed after its replies */
  int dead;
  uint32_t events;
  struct Connection *next_dead;
} Connection;

typedef struct {
  char *prefix, *reply;
  size_t prefix_length, reply_length;
} Reply;

typedef struct {
  Connection *connection;
  const Reply *reply;
  uint64_t due;
} Delayed;

static Reply replies[64];
static int reply_count;
static const Reply missing = {
    NULL, "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}", 0,
    sizeof "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" - 1};
static uint64_t latency;
static int epoll_fd, timer_fd;
static Connection *graveyard;

/* The delayed replies, in the order in which they are due: all wait equally long. */
static Delayed *queue;
static size_t queue_begin, queue_end, queue_size;

static unsigned long requests, bodies, connections, in_flight, most_in_flight, generation = 1;

static void fail(const char *what) {
  perror(what);
  exit(1);
}

static void *checked(void *memory) {
  if (!memory) fail("memory");
  return memory;
}

static uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* -- buffers */

static void make_room(Buffer *buffer, size_t more) {
  if (buffer->begin == buffer->end) buffer->begin = buffer->end = 0;
  if (buffer->size - buffer->end >= more) return;
  size_t used = buffer->end - buffer->begin;
  if (buffer->begin) memmove(buffer->data, buffer->data + buffer->begin, used);
  buffer->begin = 0;
  buffer->end = used;
  if (buffer->size - used >= more) return;
  while (buffer->size - used < more) buffer->size = buffer->size ? 2 * buffer->size : 4096;
  buffer->data = checked(realloc(buffer->data, buffer->size));
}

static void append(Buffer *buffer, const char *data, size_t length) {
  make_room(buffer, length);
  memcpy(buffer->data + buffer->end, data, length);
  buffer->end += length;
}

/* -- connections */

static void watch(Connection *connection, uint32_t events) {
  if (connection->events == events) return;
  struct epoll_event event = {.events = events, .data.ptr = connection};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, connection->fd, &event)) fail("epoll_ctl");
  connection->events = events;
}

/* Its memory stays until no event and no delayed reply can name it. */
static void end(Connection *connection) {
  if (connection->dead) return;
  connection->dead = 1;
#ifdef WITH_TLS
  if (connection->ssl) {
    SSL_shutdown(connection->ssl); /* says goodbye if it can; nothing waits for the answer */
    ERR_clear_error();
    SSL_free(connection->ssl);
  }
#endif
  close(connection->fd);
  connection->next_dead = graveyard;
  graveyard = connection;
}

static void bury(void) {
  Connection *kept = NULL;
  while (graveyard) {
    Connection *connection = graveyard;
    graveyard = connection->next_dead;
    if (connection->waiting) {
      connection->next_dead = kept;
      kept = connection;
      continue;
    }
    free(connection->in.data);
    free(connection->out.data);
    free(connection);
  }
  graveyard = kept;
}

/* Read once. Return the number of bytes, 0 for "not now", -1 for the end. */
static ssize_t read_some(Connection *connection, char *into, size_t most) {
#ifdef WITH_TLS
  if (connection->ssl) {
    int got = SSL_read(connection->ssl, into, (int)most);
    if (got > 0) return got;
    int why = SSL_get_error(connection->ssl, got);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
#endif
  ssize_t got = read(connection->fd, into, most);
  if (got > 0) return got;
  return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static ssize_t write_some(Connection *connection, const char *from, size_t most) {
#ifdef WITH_TLS
  if (connection->ssl) {
    int put = SSL_write(connection->ssl, from, (int)most);
    if (put > 0) return put;
    int why = SSL_get_error(connection->ssl, put);
    ERR_clear_error();
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
  }
#endif
  ssize_t put = write(connection->fd, from, most);
  if (put > 0) return put;
  return put < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static void flush(Connection *connection) {
  Buffer *out = &connection->out;
  while (out->begin < out->end) {
    ssize_t put = write_some(connection, out->data + out->begin, out->end - out->begin);
    if (put < 0) {
      end(connection);
      return;
    }
    if (put == 0) {
      watch(connection, EPOLLIN | EPOLLOUT);
      return;
    }
    out->begin += (size_t)put;
  }
  watch(connection, EPOLLIN);
  if (connection->closing && !connection->waiting) end(connection);
}

/* -- requests */

/* Return the value of a header of a head that ends with an empty line, or NULL. */
static const char *header(const char *head, size_t length, const char *name) {
  size_t name_length = strlen(name);
  const char *stop = head + length;
  for (const char *line = memchr(head, '\n', length); line && line + 1 < stop;
       line = memchr(line, '\n', (size_t)(stop - line))) {
    line++;
    if ((size_t)(stop - line) > name_length && line[name_length] == ':' &&
        !strncasecmp(line, name, name_length)) {
      line += name_length + 1;
      while (*line == ' ' || *line == '\t') line++;
      return line;
    }
  }
  return NULL;
}

static void refuse(Connection *connection, const char *why) {
  char reply[128];
  int length = snprintf(reply, sizeof reply,
                        "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", why);
  append(&connection->out, reply, (size_t)length);
  connection->closing = 1;
  connection->in.begin = connection->in.end;
}

static void tell(Connection *connection) {
  char body[256], head[128];
  int length = snprintf(body, sizeof body,
                        "{\"requests\":%lu,\"body_bytes\":%lu,\"connections\":%lu,"
                        "\"most_in_flight\":%lu}",
                        requests, bodies, connections, most_in_flight);
  int above = snprintf(head, sizeof head,
                       "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                       "Content-Length: %d\r\n\r\n",
                       length);
  append(&connection->out, head, (size_t)above);
  append(&connection->out, body, (size_t)length);
}

static const Reply *reply_to(const char *path, size_t length) {
  for (int n = 0; n < reply_count; n++)
    if (length >= replies[n].prefix_length &&
        !memcmp(path, replies[n].prefix, replies[n].prefix_length))
      return &replies[n];
  return &missing;
}

static void arm(void) {
  uint64_t due = queue[queue_begin].due;
  struct itimerspec when = {
      .it_value = {.tv_sec = (time_t)(due / 1000000000u), .tv_nsec = (long)(due % 1000000000u)}};
  if (timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL)) fail("timerfd_settime");
}

static void answer_later(Connection *connection, const Reply *reply) {
  if (queue_end == queue_size) {
    if (queue_begin) {
      memmove(queue, queue + queue_begin, (queue_end - queue_begin) * sizeof *queue);
      queue_end -= queue_begin;
      queue_begin = 0;
    }
    if (queue_end == queue_size) {
      queue_size = queue_size ? 2 * queue_size : 1024;
      queue = checked(realloc(queue, queue_size * sizeof *queue));
    }
  }
  queue[queue_end++] = (Delayed){connection, reply, now() + latency};
  connection->waiting++;
  if (queue_end - queue_begin == 1) arm();
}

static void answer_due(void) {
  uint64_t expirations, at = now();
  if (read(timer_fd, &expirations, sizeof expirations) < 0 && errno != EAGAIN) fail("timer");
  while (queue_begin < queue_end && queue[queue_begin].due <= at) {
    Delayed *due = &queue[queue_begin++];
    Connection *connection = due->connection;
    connection->waiting--;
    in_flight--;
    if (connection->dead) continue;
    append(&connection->out, due->reply->reply, due->reply->reply_length);
    flush(connection);
  }
  if (queue_begin < queue_end) arm();
}

/* Take one complete request from what was read. Return whether there was one. */
static int take_request(Connection *connection) {
  Buffer *in = &connection->in;
  char *data = in->data + in->begin;
  size_t length = in->end - in->begin;
  if (connection->closing || !length) return 0;
  if (!connection->head) {
    char *found = memmem(data, length, "\r\n\r\n", 4);
    if (!found) {
      if (length > HEAD_MAX) refuse(connection, "431 Request Header Fields Too Large");
      return 0;
    }
    connection->head = (size_t)(found - data) + 4;
    connection->body = 0;
    if (header(data, connection->head, "transfer-encoding")) {
      refuse(connection, "411 Length Required");
      return 0;
    }
    const char *value = header(data, connection->head, "content-length");
    if (value) {
      char *stop;
      unsigned long said = strtoul(value, &stop, 10);
      if (!isdigit((unsigned char)*value) || (*stop != '\r' && *stop != ' ') || said > BODY_MAX) {
        refuse(connection, "400 Bad Request");
        return 0;
      }
      connection->body = said;
    }
  }
  if (length < connection->head + connection->body) return 0;
  const char *close_it = header(data, connection->head, "connection");
  const char *path = memchr(data, ' ', connection->head);
  if (!path) {
    refuse(connection, "400 Bad Request");
    return 0;
  }
  path++;
  size_t path_length = connection->head - (size_t)(path - data);
  if (!strncmp(data, "GET /stats ", 11)) {
    tell(connection);
  } else if (!strncmp(data, "GET /reset ", 11)) {
    requests = bodies = connections = 0;
    most_in_flight = in_flight;
    generation++;
    tell(connection);
  } else {
    requests++;
    bodies += connection->body;
    if (connection->counted != (int)generation) {
      connection->counted = (int)generation;
      connections++;
    }
    if (++in_flight > most_in_flight) most_in_flight = in_flight;
    const Reply *reply = reply_to(path, path_length);
    if (latency) {
      answer_later(connection, reply);
    } else {
      in_flight--;
      append(&connection->out, reply->reply, reply->reply_length);
    }
  }
  if (close_it && !strncasecmp(close_it, "close", 5)) connection->closing = 1;
  in->begin += connection->head + connection->body;
  connection->head = 0;
  return 1;
}

static void serve(Connection *connection, uint32_t events) {
  if (connection->dead) return;
  if (events & EPOLLOUT && connection->out.begin < connection->out.end) {
    flush(connection);
    if (connection->dead) return;
  }
  for (;;) {
    make_room(&connection->in, 16384);
    Buffer *in = &connection->in;
    ssize_t got = read_some(connection, in->data + in->end, in->size - in->end);
    if (got < 0) {
      end(connection);
      return;
    }
    if (got == 0) break;
    in->end += (size_t)got;
    while (take_request(connection)) {
    }
    if (connection->closing) in->begin = in->end;
    /* A short read means that the socket is empty; TLS may hold another record. */
    if (!connection->ssl && in->end < in->size) break;
  }
  flush(connection);
}

/* -- start */

static void load_replies(const char *path) {
  FILE *file = fopen(path, "r");
  char *line = NULL;
  size_t size = 0;
  if (!file) fail(path);
  while (getline(&line, &size, file) > 0 && reply_count < 64) {
    char *rest = line, *prefix = strsep(&rest, "\t"), *status = strsep(&rest, "\t");
    char *body = strsep(&rest, "\n");
    if (!body) continue;
    Reply *reply = &replies[reply_count++];
    reply->prefix = checked(strdup(prefix));
    reply->prefix_length = strlen(prefix);
    int length = asprintf(&reply->reply,
                          "HTTP/1.1 %s\r\nContent-Type: application/json\r\n"
                          "Content-Length: %zu\r\n\r\n%s",
                          status, strlen(body), body);
    if (length < 0) fail("memory");
    reply->reply_length = (size_t)length;
  }
  free(line);
  fclose(file);
}

static void accept_all(int listener, void *context) {
  for (;;) {
    int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
      if (errno == EAGAIN) return;
      if (errno == EINTR || errno == ECONNABORTED) continue;
      fail("accept");
    }
    int yes = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    Connection *connection = checked(calloc(1, sizeof *connection));
    connection->fd = fd;
    connection->events = EPOLLIN;
#ifdef WITH_TLS
    if (context) {
      connection->ssl = checked(SSL_new(context));
      SSL_set_fd(connection->ssl, fd);
      SSL_set_accept_state(connection->ssl);
    }
#else
    (void)context;
#endif
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
  }
}

int main(int count, char **arguments) {
  if (count != 3 && count != 5) {
    fprintf(stderr, "usage: server REPLIES LATENCY_MS [CERTIFICATE KEY]\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  struct rlimit files;
  if (!getrlimit(RLIMIT_NOFILE, &files)) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  load_replies(arguments[1]);
  latency = (uint64_t)(strtod(arguments[2], NULL) * 1e6);
  void *context = NULL;
  if (count == 5) {
#ifdef WITH_TLS
    SSL_CTX *tls = checked(SSL_CTX_new(TLS_server_method()));
    SSL_CTX_set_mode(tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    if (SSL_CTX_use_certificate_chain_file(tls, arguments[3]) != 1 ||
        SSL_CTX_use_PrivateKey_file(tls, arguments[4], SSL_FILETYPE_PEM) != 1) {
      ERR_print_errors_fp(stderr);
      return 1;
    }
    context = tls;
#else
    fprintf(stderr, "built without TLS\n");
    return 2;
#endif
  }
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof address;
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) ||
      listen(listener, 4096) || getsockname(listener, (struct sockaddr *)&address, &length))
    fail("listen");
  epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  if (epoll_fd < 0 || timer_fd < 0) fail("epoll");
  /* Told apart by their addresses from connections. */
  static char is_listener, is_timer, is_input;
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = &is_listener};
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event)) fail("epoll_ctl");
  event.data.ptr = &is_timer;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, timer_fd, &event)) fail("epoll_ctl");
  event.data.ptr = &is_input;
  if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, STDIN_FILENO, &event)) fail("input must be a pipe");
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);

  struct epoll_event events[256];
  for (;;) {
    int ready = epoll_wait(epoll_fd, events, 256, -1);
    if (ready < 0 && errno != EINTR) fail("epoll_wait");
    for (int n = 0; n < ready; n++) {
      void *of = events[n].data.ptr;
      if (of == &is_listener) {
        accept_all(listener, context);
      } else if (of == &is_timer) {
        answer_due();
      } else if (of == &is_input) {
        char ignored[64];
        if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return 0;
      } else {
        serve(of, events[n].events);
      }
    }
    bury();
  }
}
