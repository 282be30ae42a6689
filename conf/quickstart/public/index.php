<?php
// The quickstart's application: one front controller and six pages, to see what the front door does with real PHP.
declare(strict_types=1);

const MAX_SLEEP_MS = 30000;

function e(string $text): string
{
    return htmlspecialchars($text, ENT_QUOTES | ENT_SUBSTITUTE, 'UTF-8');
}

function member(): string
{
    return getenv('MEMBER_ID') ?: 'member on port ' . ($_SERVER['SERVER_PORT'] ?? '?');
}

/** A whole page around $body, which is HTML already. */
function page(string $title, string $body, int $status = 200): void
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    header('X-Member: ' . preg_replace('/[^A-Za-z0-9._\/:@-]/', '_', member()));
    $links = ['/' => 'Request', '/form' => 'Upload', '/slow?ms=3000' => 'Slow', '/json' => 'JSON',
              '/cookie' => 'Cookie', '/redirect' => 'Redirect', '/nowhere' => '404'];
    $nav = '';
    foreach ($links as $href => $text) {
        $nav .= '<a href="' . e($href) . '">' . e($text) . "</a>\n";
    }
    echo '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<title>', e($title), ' · coxswain</title><link rel="stylesheet" href="/style.css">',
        '<link rel="icon" href="/oar.svg" type="image/svg+xml"></head><body><header><img src="/oar.svg" alt="" width="36" height="36">',
        '<strong>coxswain</strong><nav>', $nav, '</nav></header><main><h1>', e($title), '</h1>',
        '<p class="member">answered by <b>', e(member()), '</b>, process ', getmypid(), '</p>', $body, "</main></body></html>\n";
}

/** @param array<string, string> $rows */
function table(array $rows): string
{
    $html = '<table>';
    foreach ($rows as $name => $value) {
        $html .= '<tr><th>' . e((string) $name) . '</th><td>' . e((string) $value) . '</td></tr>';
    }
    return $html . '</table>';
}

function show_request(): void
{
    $names = ['REQUEST_METHOD', 'REQUEST_URI', 'QUERY_STRING', 'SERVER_PROTOCOL', 'REQUEST_SCHEME', 'SERVER_NAME',
              'SERVER_ADDR', 'SERVER_PORT', 'REMOTE_ADDR', 'REMOTE_PORT', 'SCRIPT_NAME', 'SCRIPT_FILENAME', 'DOCUMENT_ROOT',
              'PATH_INFO', 'CONTENT_TYPE', 'CONTENT_LENGTH', 'HTTPS', 'GATEWAY_INTERFACE'];
    $server = array_intersect_key($_SERVER, array_flip($names));
    $fields = array_filter($_SERVER, fn($name) => str_starts_with((string) $name, 'HTTP_'), ARRAY_FILTER_USE_KEY);
    ksort($fields);
    page('The request as PHP saw it', '<p>Reload a few times: the members take turns.</p>' . table($server)
        . '<h2>Header fields</h2>' . table($fields));
}

function form(): void
{
    $body = '<form method="post" enctype="multipart/form-data"><label>A word <input name="word" maxlength="200"></label>'
        . '<label>A file, up to 32 MB <input type="file" name="file"></label><button>Send</button></form>';
    if ($_SERVER['REQUEST_METHOD'] === 'POST') {
        $rows = ['word' => (string) ($_POST['word'] ?? '')];
        $file = $_FILES['file'] ?? null;
        if (is_array($file) && $file['error'] === UPLOAD_ERR_OK) {
            $rows += ['name' => $file['name'], 'size' => $file['size'] . ' bytes', 'sha1' => sha1_file($file['tmp_name'])];
        } elseif (is_array($file) && $file['error'] !== UPLOAD_ERR_NO_FILE) {
            $rows += ['file' => 'PHP refused the upload, error ' . $file['error']];
        }
        $body .= '<h2>What arrived</h2>' . table(array_map('strval', $rows));
    }
    page('A form with an upload', $body);
}

function slow(): void
{
    $ms = max(0, min(MAX_SLEEP_MS, (int) ($_GET['ms'] ?? 3000)));
    $began = hrtime(true);
    usleep($ms * 1000);
    $took = intdiv(hrtime(true) - $began, 1000000);
    page('Slow on purpose', '<p>This took ' . $took . ' ms. While such a request runs, <code>coxctl status</code> '
        . 'counts it as in flight of this member, and the next one goes to another.</p>');
}

function json(): void
{
    header('Content-Type: application/json');
    echo json_encode(['member' => member(), 'pid' => getmypid(), 'method' => $_SERVER['REQUEST_METHOD'],
                      'uri' => $_SERVER['REQUEST_URI'], 'query' => $_GET,
                      'body_bytes' => strlen((string) file_get_contents('php://input'))],
                     JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE), "\n";
}

function cookie(): void
{
    $visits = 1 + max(0, min(999999, (int) ($_COOKIE['visits'] ?? 0)));
    setcookie('visits', (string) $visits, ['path' => '/', 'httponly' => true, 'samesite' => 'Lax']);
    page('A cookie', '<p>You were here ' . $visits . ' time' . ($visits === 1 ? '' : 's')
        . '. The count is in your browser, so any member may answer.</p>');
}

match (parse_url($_SERVER['REQUEST_URI'] ?? '/', PHP_URL_PATH)) {
    '/' => show_request(),
    '/form' => form(),
    '/slow' => slow(),
    '/json' => json(),
    '/cookie' => cookie(),
    '/redirect' => header('Location: /?from=redirect', true, 302),
    default => page('Nothing here', '<p>No page has this address; the application said so, not the front door.</p>', 404),
};
