<?php
/* The application of the FastCGI tests: answers by path, and says what it saw. */
$uri = $_SERVER['REQUEST_URI'];
$path = explode('?', $uri)[0];
switch ($path) {
case '/upload':
    $files = [];
    foreach ($_FILES as $name => $f)
        $files[$name] = ['name' => $f['name'], 'size' => $f['size'], 'error' => $f['error'],
                         'sha1' => $f['tmp_name'] ? sha1_file($f['tmp_name']) : ''];
    header('Content-Type: application/json');
    echo json_encode(['files' => $files, 'post' => $_POST]);
    break;
case '/echo':
    header('Content-Type: application/octet-stream');
    echo file_get_contents('php://input');
    break;
case '/sha1':
    echo sha1(file_get_contents('php://input'));
    break;
case '/redirect':
    header('Location: /elsewhere?a=b');
    break;
case '/moved':
    header('Location: /elsewhere', true, 301);
    break;
case '/status-code':
    http_response_code((int)$_GET['code']);
    echo 'body';
    break;
case '/cookies':
    setcookie('one', 'a b');
    setcookie('two', '2', ['httponly' => true, 'path' => '/']);
    header('Content-Type: application/json');
    echo json_encode($_COOKIE);
    break;
case '/large-headers':
    for ($i = 0; $i < 40; $i++)
        header("X-Large-$i: " . str_repeat(chr(97 + $i % 26), 1000));
    echo 'ok';
    break;
case '/big':
    header('Content-Type: text/plain');
    for ($i = 0; $i < (int)$_GET['kib']; $i++)
        echo str_repeat('x', 1024);
    break;
case '/stderr':
    file_put_contents('php://stderr', 'said on stderr ' . $_GET['mark'] . "\n");
    error_log('logged ' . $_GET['mark']);
    echo 'ok';
    break;
case '/slow':
    usleep(1000 * (int)$_GET['ms']);
    echo getmypid();
    break;
case '/flush':
    header('Content-Type: text/event-stream');
    header('X-Accel-Buffering: no');
    echo "data: first\n\n";
    @ob_flush();
    flush();
    usleep(1000 * (int)($_GET['ms'] ?? 500));
    echo "data: second\n\n";
    break;
case '/exit':
    exec('kill -9 ' . getmypid());
    break;
case '/accel':
    header('X-Accel-Redirect: ' . $_GET['to']);
    header('Content-Type: text/x-from-php');
    echo 'never seen';
    break;
case '/sendfile':
    header('X-Sendfile: ' . $_GET['to']);
    echo 'never seen';
    break;
case '/length':
    header('Content-Length: 5');
    echo 'hello';
    break;
case '/nothing':
    http_response_code(204);
    break;
default:
    header('Content-Type: application/json');
    echo json_encode(['server' => $_SERVER, 'get' => $_GET, 'body' => file_get_contents('php://input')],
                     JSON_INVALID_UTF8_SUBSTITUTE);
}
